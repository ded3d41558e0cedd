"""What the frames of one camera came to, as its ring counts them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CaptureCounts:
    """What capture did so far; `due == taken + waiting + thinned + overrun` at every moment."""

    grabbed: int
    """Frames that the decoder gave, due or not."""
    written: int
    """Due frames that were laid into the ring."""
    read: int
    """Frames that left the ring, taken or expired."""
    thinned: int
    """Due frames that were left out evenly, since the reader is behind."""
    overrun: int
    """Due frames that found the ring full, or grew too old in it."""
    damaged: int
    """Complaints of the decoder."""
    expired: int
    """Those of `overrun` that had been in the ring."""

    @property
    def due(self) -> int:
        """Frames that belong to the model's rate."""
        return self.written - self.expired + self.thinned + self.overrun

    @property
    def taken(self) -> int:
        """Frames that the reader took."""
        return self.read - self.expired

    @property
    def waiting(self) -> int:
        """Frames in the ring that the reader has not taken."""
        return self.written - self.read
