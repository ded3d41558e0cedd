"""What a camera can show: the contract between a source of H.264 pictures and the server that sends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engines.errors import SourceError
from pipeline.rtsp.h264 import AccessUnit


@dataclass(frozen=True)
class StreamFormat:
    """What a client must know before the first picture."""

    sps: bytes
    pps: bytes
    width: int
    height: int
    frame_rate: float  # frames/s, for the description only: time stamps pace the stream


@dataclass(frozen=True)
class Encoding:
    """How pictures become H.264. Raises SourceError for a size or rate that H.264 cannot carry."""

    width: int = 640
    height: int = 360
    frame_rate: float = 15.0  # frames/s
    bitrate: int | None = None  # bits/s; None holds the quality instead
    quality: int = 23  # x264's constant rate factor, lower is better; used where bitrate is None
    gop_s: float = 2.0  # from one IDR picture to the next

    def __post_init__(self) -> None:
        if self.width % 2 or self.height % 2 or min(self.width, self.height) < 16:
            raise SourceError(f"the picture size {self.width}x{self.height} should be even and at least 16x16")
        if not 0 < self.frame_rate <= 240:
            raise SourceError(f"the frame rate {self.frame_rate:g} should lie above 0 and up to 240 frames/s")


class Playback(Protocol):
    """One run through a media, used by one thread at a time."""

    def read(self, *, fresh: bool = False) -> list[AccessUnit]:
        """The next pictures in order, at least one; none at the end.

        `fresh` asks for an IDR picture as the next one, where pictures are encoded here; a file gives its own in time.
        Raises SourceError where the source cannot be read on.
        """
        ...


class Media(Protocol):
    """A picture source that can be played any number of times, also at once. Its time begins at 0."""

    @property
    def format(self) -> StreamFormat:
        """The parameter sets and size of every playback."""
        ...

    @property
    def duration_s(self) -> float | None:
        """Length in seconds; None where it never ends."""
        ...

    def play(self, start_s: float = 0.0) -> Playback:
        """Start at the first picture at or after `start_s`; the first one read is an IDR picture."""
        ...
