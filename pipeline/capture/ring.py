"""The rolling buffer: a ring of frame slots in anonymous shared memory, one writer and one reader, no locks.

The memory has no name (Linux memfd, elsewhere an unlinked file), so nothing stays behind however a process dies. The
writer alone moves `written` and the reader alone moves `read`; a slot is filled before `written` moves past it.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

_COUNTERS = np.dtype(
    [(name, np.uint64) for name in ("written", "read", "grabbed", "due", "thinned", "overrun", "damaged")],
)
_HEADER = np.dtype(
    [
        ("sequence", np.uint64),
        ("media_ns", np.int64),
        ("captured_ns", np.int64),
        ("monotonic_ns", np.int64),
        ("ready_ns", np.int64),
        ("dropped", np.uint32),
        ("flags", np.uint32),
    ],
)
_PAGE = 4096


class FrameFlag(IntFlag):
    """What happened between the previous frame of this camera and this one."""

    CONNECTED = 1
    """First frame of a connection."""
    JUMPED = 2
    """The stream's clock jumped."""
    RESIZED = 4
    """The picture size changed."""
    DAMAGED = 8
    """The decoder reported damage."""


class FrameHeader(NamedTuple):
    """The facts of one frame in the ring."""

    sequence: int
    """Counts the frames written for this camera, from 0."""
    media_ns: int
    """Time on the camera's media clock."""
    captured_ns: int
    """Wall clock (UTC) when the frame was grabbed."""
    monotonic_ns: int
    """CLOCK_MONOTONIC when the frame was grabbed; comparable across processes of one machine."""
    ready_ns: int
    """CLOCK_MONOTONIC when the frame lay in its slot."""
    dropped: int
    """Due frames that were thinned out or overran the ring since the previous frame written."""
    flags: FrameFlag


@dataclass(frozen=True)
class CaptureCounts:
    """What capture did so far; `due == written + thinned + overrun` once the writer is at rest."""

    grabbed: int
    due: int
    written: int
    thinned: int
    overrun: int
    damaged: int
    taken: int

    @property
    def waiting(self) -> int:
        """Frames in the ring that the reader has not taken."""
        return self.written - self.taken


class RollingBuffer:
    """A ring of `slots` uint8 `[height, width, 3]` BGR pictures with their headers."""

    def __init__(self, fd: int, slots: int, height: int, width: int) -> None:
        self.fd = fd
        self.slots = slots
        self._map = mmap.mmap(fd, _size(slots, height, width))
        self._counters = np.frombuffer(self._map, _COUNTERS, count=1)[0]
        self._headers = np.frombuffer(self._map, _HEADER, count=slots, offset=_COUNTERS.itemsize)
        pixels = np.frombuffer(self._map, np.uint8, count=slots * height * width * 3, offset=_pixels_at(slots))
        self._pictures = pixels.reshape(slots, height, width, 3)

    @classmethod
    def create(cls, slots: int, height: int, width: int) -> RollingBuffer:
        """Allocate a ring of zeros; `fd` may be inherited by the capture process."""
        fd = _anonymous_file()
        os.ftruncate(fd, _size(slots, height, width))
        return cls(fd, slots, height, width)

    # -- writer ------------------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Frames written and not yet taken."""
        return int(self._counters["written"]) - int(self._counters["read"])

    @property
    def full(self) -> bool:
        """True when the next slot still holds a frame that was not taken."""
        return self.backlog >= self.slots

    def lag_ns(self, now_ns: int) -> int:
        """How long the oldest frame has waited for its reader; 0 when none waits."""
        if not self.backlog:
            return 0
        return now_ns - int(self._headers[int(self._counters["read"]) % self.slots]["ready_ns"])

    def slot(self) -> Picture:
        """The picture to fill next; valid while the ring is not full."""
        picture: Picture = self._pictures[int(self._counters["written"]) % self.slots]
        return picture

    def commit(self, header: FrameHeader) -> None:
        """Hand the filled slot to the reader; `header.sequence` is set by the ring."""
        written = int(self._counters["written"])
        self._headers[written % self.slots] = (written, *header[1:])
        self._counters["written"] = written + 1

    def count(self, name: str, by: int = 1) -> None:
        """Add to one of the writer's counters: grabbed, due, thinned, overrun, damaged."""
        self._counters[name] += np.uint64(by)

    # -- reader ------------------------------------------------------------------------------------------------------

    def peek(self) -> FrameHeader | None:
        """The oldest frame's header, or None when the ring is empty."""
        if not self.backlog:
            return None
        row = self._headers[int(self._counters["read"]) % self.slots].item()
        return FrameHeader._make((*row[:-1], FrameFlag(row[-1])))

    def take(self, into: Picture) -> None:
        """Copy the oldest picture into `into` (uint8 `[height, width, 3]`) and free its slot."""
        np.copyto(into, self._pictures[int(self._counters["read"]) % self.slots])
        self.skip()

    def skip(self) -> None:
        """Free the oldest slot without reading it."""
        self._counters["read"] += np.uint64(1)

    def last_written(self) -> tuple[int, int] | None:
        """Media time and monotonic time (ns) of the newest frame ever written, or None."""
        written = int(self._counters["written"])
        if not written:
            return None
        header = self._headers[(written - 1) % self.slots]
        return int(header["media_ns"]), int(header["monotonic_ns"])

    def counts(self) -> CaptureCounts:
        """A reading of all counters."""
        c = self._counters
        return CaptureCounts(
            grabbed=int(c["grabbed"]),
            due=int(c["due"]),
            written=int(c["written"]),
            thinned=int(c["thinned"]),
            overrun=int(c["overrun"]),
            damaged=int(c["damaged"]),
            taken=int(c["read"]),
        )

    def close(self) -> None:
        """Give the memory back; the ring must not be used any more."""
        del self._counters, self._headers, self._pictures
        self._map.close()
        os.close(self.fd)


def _pixels_at(slots: int) -> int:
    used = _COUNTERS.itemsize + slots * _HEADER.itemsize
    return -(-used // _PAGE) * _PAGE


def _size(slots: int, height: int, width: int) -> int:
    return _pixels_at(slots) + slots * height * width * 3


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("vidpipe-ring", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
