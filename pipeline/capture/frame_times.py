"""Times of a stream's frames, where the first ones carry none."""

from __future__ import annotations

_USUAL_MS = 40.0
_MOST_UNTIMED = 2  # more than these, and the stream has no times at all


class FrameTimes:
    """Places frames in milliseconds after the start of the stream.

    FFmpeg gives the first packet of an RTSP stream no time. With `fill` such frames are counted at the nominal rate,
    and all later ones are shifted so that they go on from there; without it they stand at 0.
    """

    def __init__(self, fps: float, *, fill: bool) -> None:
        self._period_ms = 1000.0 / fps if 1 <= fps <= 240 else _USUAL_MS
        self._fill = fill
        self._untimed = 0
        self._shift_ms: float | None = None
        self._last_ms = 0.0

    def place(self, stamp_ms: float | None) -> float:
        """The next frame's time; a frame without a stamp in the midst of others stands where the last one stood."""
        if stamp_ms is not None:
            if self._shift_ms is None:
                self._shift_ms = self._untimed * self._period_ms - stamp_ms if self._untimed else 0.0
            self._last_ms = stamp_ms + self._shift_ms
        elif self._shift_ms is None and self._fill and self._untimed <= _MOST_UNTIMED:
            self._last_ms = self._untimed * self._period_ms
            self._untimed += 1
        return self._last_ms
