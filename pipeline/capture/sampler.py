"""Sampling on the media clock: which grabbed frames are due, and how a backlog thins them evenly in time."""

from __future__ import annotations

from engines.clips import sampling_cell

_MAX_STRIDE = 8
_RELAX_AFTER_CELLS = 10


class Sampler:
    """Takes the first frame of every `stride`-th sampling cell of `1 / rate_hz` seconds.

    The stride is 1 until the reader falls behind; then it grows by one, and shrinks again after a quiet while, so that
    an overloaded pipeline sees a slower but even stream and never a burst of loss.
    """

    def __init__(self, rate_hz: float, *, thin: bool) -> None:
        self._rate_hz = rate_hz
        self._thin = thin
        self._cell: int | None = None
        self._kept: int | None = None
        self._quiet_since = 0
        self.stride = 1

    def due(self, media_ns: int) -> bool:
        """True for the first frame of a new cell: the frame belongs to the model's rate."""
        cell = sampling_cell(media_ns / 1e9, self._rate_hz)
        if self._cell is not None and cell <= self._cell:
            return False
        self._cell = cell
        return True

    def keep(self, backlog: int) -> bool:
        """Whether the due frame is kept, given how many frames wait in the ring; call once per due frame."""
        cell = self._cell or 0
        if self._thin:
            self._adapt(cell, backlog)
        if self._kept is not None and cell - self._kept < self.stride:
            return False
        self._kept = cell
        return True

    def _adapt(self, cell: int, backlog: int) -> None:
        if backlog >= 2:
            self._quiet_since = cell + self.stride
            self.stride = min(self.stride + 1, _MAX_STRIDE)
        elif backlog:
            self._quiet_since = max(self._quiet_since, cell)
        elif self.stride > 1 and cell - self._quiet_since >= _RELAX_AFTER_CELLS:
            self.stride -= 1
            self._quiet_since = cell
