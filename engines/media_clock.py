"""The media clock: raw decoder timestamps made monotonic, across missing stamps, jumps and reconnects.

Capture and training share it, so both give a frame the same time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_MOST_AHEAD_NS = 3_000_000_000  # of the arrivals, in one step: frames that were lost while others waited in a socket
_JITTER_NS = 500_000_000
_UNTIMED_AFTER = 3
_NOMINAL_FALLBACK_NS = 40_000_000


@dataclass(frozen=True)
class Tick:
    """One frame's place on the media clock; `jumped` marks a break in the stream's own clock."""

    media_ns: int
    jumped: bool


class MediaClock:
    """Turns `CAP_PROP_POS_MSEC` and arrival times into a clock that never stands back.

    Streams without timestamps (the raw value repeats) are timed by arrival when live, by the nominal frame period
    otherwise. A raw clock that runs backwards, or forwards by seconds more than the arrivals did, has jumped: the media
    clock then goes on by the arrival time that passed. A raw clock that stands back by less than half a second is badly
    kept, as in cameras that stamp frames out of order: the media clock stands still until it has caught up.
    """

    def __init__(self, *, live: bool, start_ns: int | None = None, period_ns: int | None = None) -> None:
        self._live = live
        self._start_ns = start_ns
        self._period_ns = period_ns or _NOMINAL_FALLBACK_NS
        self._last: tuple[int, int, int] | None = None  # the highest raw since a jump, arrival, media
        self._raw_ns: int | None = None
        self._repeats = 0

    @property
    def timed(self) -> bool:
        """Whether the stream has time stamps of its own; else a frame's time is when it was read."""
        return self._repeats < _UNTIMED_AFTER

    def tick(self, raw_ms: float, arrival_ns: int) -> Tick:
        """Place the next frame. `raw_ms` is the decoder's stamp in milliseconds, `arrival_ns` a monotonic time."""
        raw_ns = round(raw_ms * 1e6) if math.isfinite(raw_ms) and abs(raw_ms) < 1e15 else 0
        if self._last is None:
            media_ns, jumped = (max(raw_ns, 0) if self._start_ns is None else self._start_ns), False
        else:
            media_ns, jumped = self._advance(raw_ns, arrival_ns, *self._last)
        highest_ns = raw_ns if jumped or self._last is None else max(raw_ns, self._last[0])
        self._last, self._raw_ns = (highest_ns, arrival_ns, media_ns), raw_ns
        return Tick(media_ns, jumped)

    def _advance(
        self, raw_ns: int, arrival_ns: int, last_raw: int, last_arrival: int, last_media: int
    ) -> tuple[int, bool]:
        step_ns, waited_ns = raw_ns - last_raw, arrival_ns - last_arrival
        self._repeats = self._repeats + 1 if raw_ns == self._raw_ns else 0
        if self._repeats >= _UNTIMED_AFTER:
            return last_media + (waited_ns if self._live else self._period_ns), False
        if -_JITTER_NS < step_ns < 0:
            return last_media, False
        if step_ns < 0 or self._unbelievable(step_ns, waited_ns):
            return last_media + (max(waited_ns, 1) if self._live else self._period_ns), True
        return last_media + step_ns, False

    def _unbelievable(self, step_ns: int, waited_ns: int) -> bool:
        return self._live and step_ns - waited_ns > _MOST_AHEAD_NS and step_ns > 2 * waited_ns
