"""The rolling buffer: a ring of frame slots in anonymous shared memory, one writer and one reader, no locks.

The memory has no name (Linux memfd, elsewhere an unlinked file), so nothing stays behind however a process dies. The
writer alone moves `written`, the reader alone `read` and `expired`; a slot is filled before `written` moves past it.

What became of a due frame is one of three words, and writing one is one store of 64 bits: `written` (it lies in a slot
now), `thinned` or `overrun`. How many were due is their sum. So the counts agree at every instant, also where a writer
is killed between two instructions: the frame it was at was never due, and the next writer goes on from the words.
"""

from __future__ import annotations

import mmap
import os
import struct

import numpy as np
import numpy.typing as npt

from pipeline.capture.counts import CaptureCounts
from pipeline.capture.frame_header import NOTHING, FrameFlag, FrameHeader
from pipeline.capture.shared_memory import anonymous_memory

__all__ = ["CaptureCounts", "FrameFlag", "FrameHeader", "Picture", "RollingBuffer"]

Picture = npt.NDArray[np.uint8]

_COUNTERS = ("written", "read", "grabbed", "thinned", "overrun", "damaged", "expired")
_WORD = {name: index for index, name in enumerate(_COUNTERS)}
_WRITTEN, _READ, _EXPIRED = _WORD["written"], _WORD["read"], _WORD["expired"]
_THINNED, _OVERRUN = _WORD["thinned"], _WORD["overrun"]
_HEADER = struct.Struct("=QqqqqIIQ")  # the last is `thinned + overrun` of that moment
_HEADERS_AT = 8 * len(_COUNTERS)
_PAGE = 4096
_MOST = 1 << 60  # no counter comes there by itself; sums of some still fit into 64 bits
_MASK = (1 << 64) - 1
_CATCHING_UP = 2  # frames taken for one written
_QUEUED_NS = 50_000_000  # a frame that had waited so long when the one before it was taken
_ONCE = ~(FrameFlag.REPEATS | FrameFlag.FROZEN)  # what must not get lost with a frame: it happened between two of them


class RollingBuffer:
    """A ring of `slots` uint8 `[height, width, 3]` BGR pictures with their headers."""

    def __init__(self, fd: int, slots: int, height: int, width: int) -> None:
        self.fd = fd
        self.slots = slots
        self._map = mmap.mmap(fd, _size(slots, height, width))
        # plain 64-bit words: reading one through numpy costs ten times as much, for every frame of every camera
        self._words = memoryview(self._map)[:_HEADERS_AT].cast("Q")
        pixels = np.frombuffer(self._map, np.uint8, count=slots * height * width * 3, offset=_pixels_at(slots))
        self._pictures = list(pixels.reshape(slots, height, width, 3))
        # the writer's: how far its reader was seen to be, since when, and how far when the last frame was written
        self._seen_read = self._seen_ns = self._read_before = 0
        self._left_out = 0  # expired frames, and those dropped before them, since the last one taken
        self._left_flags = NOTHING

    @classmethod
    def create(cls, slots: int, height: int, width: int) -> RollingBuffer:
        """Allocate a ring of zeros; `fd` may be inherited by the capture process.

        Raises:
            OSError: the system has no memory or descriptors left.
        """
        fd = anonymous_memory(_size(slots, height, width))
        try:
            return cls(fd, slots, height, width)
        except BaseException:
            os.close(fd)
            raise

    # -- writer ------------------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Frames written and not yet taken."""
        return self._words[_WRITTEN] - self._words[_READ]

    @property
    def full(self) -> bool:
        """True when the next slot still holds a frame that was not taken."""
        return self.backlog >= self.slots

    @property
    def room(self) -> float:
        """Share of the slots that are free."""
        return 1 - self.backlog / self.slots

    def lag_ns(self, now_ns: int) -> int:
        """How far behind the reader is where it is too slow: how long the oldest frame has waited, in ns.

        To be asked at each due frame. 0 when none waits, and where the reader catches up: it took several frames since
        the last was written. One that had nothing waiting when it last took a frame, and stands still since, is not
        slow: it will catch up.
        """
        read = self._words[_READ]
        if read != self._seen_read:
            self._seen_read, self._seen_ns = read, now_ns
        header = self.peek()
        if header is None or read - self._read_before >= _CATCHING_UP:
            return 0
        queued_ns = self._seen_ns - header.ready_ns
        return now_ns - header.ready_ns if queued_ns >= _QUEUED_NS else max(0, queued_ns)

    def slot(self) -> Picture:
        """The picture to fill next; valid while the ring is not full."""
        return self._pictures[self._words[_WRITTEN] % self.slots]

    def repeats(self) -> bool:
        """Whether the filled slot equals the picture committed before it; one row tells nearly all that differ."""
        written = self._words[_WRITTEN]
        if not written or self.slots == 1:
            return False
        new, old = self.slot(), self._pictures[(written - 1) % self.slots]
        middle = len(new) // 2
        return np.array_equal(new[middle], old[middle]) and np.array_equal(new, old)

    def commit(self, header: FrameHeader) -> None:
        """Hand the filled slot to the reader; the ring itself sets `header.sequence` and `header.dropped`."""
        written = self._words[_WRITTEN]
        lost = self._words[_THINNED] + self._words[_OVERRUN]
        dropped = lost - (self._lost_before(written - 1) if written else 0)
        _HEADER.pack_into(self._map, self._header_at(written), written, *header[1:5], dropped, header.flags, lost)
        self._words[_WRITTEN] = written + 1
        self._read_before = self._words[_READ]

    def count(self, name: str, by: int = 1) -> None:
        """Add to one of the writer's counters: grabbed, thinned, overrun, damaged."""
        self._words[_WORD[name]] += by

    # -- reader ------------------------------------------------------------------------------------------------------

    def peek(self) -> FrameHeader | None:
        """The oldest frame's header, or None when the ring is empty."""
        read = self._words[_READ]
        if self._words[_WRITTEN] == read:
            return None
        header = self._header(read)
        if not self._left_out:
            return header
        # the picture that this one may repeat was not taken
        flags = (header.flags | self._left_flags) & ~FrameFlag.REPEATS
        return header._replace(dropped=header.dropped + self._left_out, flags=flags)

    def take(self, into: Picture) -> None:
        """Copy the oldest picture into `into` (uint8 `[height, width, 3]`) and free its slot."""
        np.copyto(into, self._pictures[self._words[_READ] % self.slots])
        self.skip()

    def skip(self) -> None:
        """Free the oldest slot without reading it."""
        self._left_out, self._left_flags = 0, NOTHING
        self._advance(_READ)

    def expire(self, before_ns: int) -> int:
        """Leave out the oldest frames as long as they were grabbed before a monotonic time; how many they were.

        They count as overrun, and the next frame tells of them: in `dropped`, and with their flags.
        """
        count = 0
        for _ in range(self.slots):
            header = self.peek()
            if header is None or header.monotonic_ns >= before_ns:
                break
            self._left_out, self._left_flags = header.dropped + 1, header.flags & _ONCE
            self._advance(_EXPIRED)
            self._advance(_READ)
            count += 1
        return count

    def last_written(self) -> tuple[int, int] | None:
        """Media time and monotonic time (ns) of the newest frame ever written, or None."""
        written = self._words[_WRITTEN]
        if not written:
            return None
        header = self._header(written - 1)
        return header.media_ns, header.monotonic_ns

    def counts(self) -> CaptureCounts:
        """A reading of all counters; none is larger than a message can hold."""
        written, read, grabbed, thinned, overrun, damaged, expired = [min(word, _MOST) for word in self._words]
        return CaptureCounts(grabbed, written, read, thinned, overrun + expired, damaged, expired)

    def is_sound(self) -> bool:
        """Whether the words make sense: a capture process gone mad may have written anything."""
        return 0 <= self.backlog <= self.slots and max(self._words) < _MOST

    def empty(self) -> None:
        """Forget what lies in the ring, and counts that make no sense; once its writer is gone."""
        if max(self._words) >= _MOST:
            self._words[:] = memoryview(bytes(_HEADERS_AT)).cast("Q")
        self._words[_WRITTEN] = self._words[_READ]

    def _advance(self, word: int) -> None:
        """Count one; a word that someone else has spoilt wraps around."""
        self._words[word] = (self._words[word] + 1) & _MASK

    def close(self) -> None:
        """Give the memory back; the ring must not be used any more."""
        self._words.release()
        self._pictures.clear()
        self._map.close()
        os.close(self.fd)

    def _header_at(self, number: int) -> int:
        return _HEADERS_AT + number % self.slots * _HEADER.size

    def _header(self, number: int) -> FrameHeader:
        *facts, flags, _ = _HEADER.unpack_from(self._map, self._header_at(number))
        return FrameHeader._make((*facts, FrameFlag(flags)))

    def _lost_before(self, number: int) -> int:
        lost: int = _HEADER.unpack_from(self._map, self._header_at(number))[-1]
        return lost


def _pixels_at(slots: int) -> int:
    used = _HEADERS_AT + slots * _HEADER.size
    return -(-used // _PAGE) * _PAGE


def _size(slots: int, height: int, width: int) -> int:
    return _pixels_at(slots) + slots * height * width * 3
