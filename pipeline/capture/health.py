"""How a connection that has given its first frame is doing, judged a few times a second by what its ring counts."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pipeline.capture.state import CameraState

if TYPE_CHECKING:
    from pipeline.capture.ring import CaptureCounts

_STALLED_AT = 0.75  # of the stall limit
_BLOCKED_AFTER_S = 2.0
_BLOCKED_FILE_AFTER_S = 10.0  # files go in step with the slowest of them
_WINDOW_S = 5.0
_DEGRADED_AT = 5  # complaints of the decoder within the window
_MENDED_AT = 1

_DETAILS = {
    CameraState.BLOCKED: "its frames are not taken: the model is too slow or hangs",
    CameraState.STALLED: "no frame has come for a while",
    CameraState.FROZEN: "frames come, but the picture stands still",
    CameraState.DEGRADED: "the decoder reports damage again and again",
}


def detail_of(state: CameraState) -> str:
    """The state as a sentence for people; empty where all is well."""
    return _DETAILS.get(state, "")


class Health:
    """Remembers of the ring's counts what it takes to tell running from degraded, frozen, blocked and stalled.

    All times are monotonic. Where several hold, the first of blocked, stalled, frozen and degraded is named.
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self.begin(0.0, None)

    def begin(self, now_s: float, counts: CaptureCounts | None) -> None:
        """A connection begins."""
        self.frozen = False  # as the capture process says
        self._grabbed = (counts.grabbed if counts else 0, now_s)
        self._taken = (counts.taken if counts else 0, now_s)
        self._complaints: deque[tuple[float, int]] = deque([(now_s, counts.damaged if counts else 0)])
        self._degraded = False

    def excuse(self, now_s: float) -> None:
        """The reader could not take a frame until now."""
        self._taken = (self._taken[0], now_s)

    @property
    def heard_s(self) -> float:
        """When the last frame was seen to come, or the reader to hold frames up on purpose."""
        return self._grabbed[1]

    @property
    def taken_s(self) -> float:
        """When the reader was last seen to take a frame, or to have nothing to take."""
        return self._taken[1]

    def look(self, now_s: float, counts: CaptureCounts, *, full: bool, waits: bool) -> CameraState:
        """The state by what was counted until now.

        Args:
            now_s: monotonic time.
            counts: of the ring.
            full: whether the ring has no free slot.
            waits: whether the source waits for a free slot instead of leaving frames out.
        """
        # a file that waits for its reader stands still on purpose
        if counts.grabbed != self._grabbed[0] or (waits and full):
            self._grabbed = (counts.grabbed, now_s)
        if counts.taken != self._taken[0] or not counts.waiting:
            self._taken = (counts.taken, now_s)
        self._count_complaints(now_s, counts.damaged)
        if now_s - self._taken[1] >= (_BLOCKED_FILE_AFTER_S if waits else _BLOCKED_AFTER_S):
            return CameraState.BLOCKED
        if now_s - self._grabbed[1] >= _STALLED_AT * self._stall_s:
            return CameraState.STALLED
        if self.frozen:
            return CameraState.FROZEN
        return CameraState.DEGRADED if self._degraded else CameraState.RUNNING

    def _count_complaints(self, now_s: float, damaged: int) -> None:
        seen = self._complaints
        if damaged != seen[-1][1]:
            seen.append((now_s, damaged))
        while len(seen) > 1 and now_s - seen[1][0] >= _WINDOW_S:
            seen.popleft()
        recent = damaged - seen[0][1]
        self._degraded = recent > _MENDED_AT if self._degraded else recent >= _DEGRADED_AT
