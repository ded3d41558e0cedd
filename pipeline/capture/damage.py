"""Damage to a stream: from the decoder's complaint on up to a picture that builds on no damaged one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.capture.frame_header import NOTHING, FrameFlag

if TYPE_CHECKING:
    from pipeline.capture.frames import FrameSource

# a camera that never sends a whole picture, but refreshes it strip by strip, has mended damage by then
_MENDED_NS = 10_000_000_000


class Damage:
    """`complaints` counts those of the decoder; `lasts` says whether pictures are damaged now."""

    def __init__(self) -> None:
        self.complaints = 0
        self._since_ns: int | None = None

    @property
    def lasts(self) -> bool:
        """Whether no picture has come since that needs no other one."""
        return self._since_ns is not None

    def complain(self, count: int, now_ns: int) -> None:
        """The decoder has complained so many times about the frame that was grabbed at a monotonic time."""
        self.complaints += count
        self._since_ns = now_ns

    def mark(self, source: FrameSource, now_ns: int) -> FrameFlag:
        """What is to be noted of the frame that was grabbed now: damage is handed on from picture to picture."""
        if self._since_ns is None:
            return NOTHING
        if self._since_ns != now_ns and (source.is_intra() or now_ns - self._since_ns > _MENDED_NS):
            self._since_ns = None
            return NOTHING
        return FrameFlag.DAMAGED
