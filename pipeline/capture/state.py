"""Where a camera stands."""

from __future__ import annotations

from enum import Enum


class CameraState(str, Enum):
    """Where a camera stands; it runs from its first frame on, not from the open."""

    CONNECTING = "connecting"
    """Its capture process starts and opens the source."""
    WAITING_FIRST_FRAME = "waiting_first_frame"
    """The source is open and has not given a frame."""
    RUNNING = "running"
    """Frames come."""
    DEGRADED = "degraded"
    """Frames come, and the decoder complains about many of them."""
    FROZEN = "frozen"
    """Frames come, and all show the same picture."""
    BLOCKED = "blocked"
    """Frames come, and nobody takes them: the model is too slow or hangs. No reason to reconnect."""
    STALLED = "stalled"
    """Frames have stayed away for most of the stall limit."""
    BACKOFF = "backoff"
    """The connection ended and will be made again soon."""
    AUTH_FAILED = "auth_failed"
    """The camera refuses the credentials; tried again slowly."""
    UNSUPPORTED = "unsupported"
    """What answers gives no video that can be decoded; tried again slowly."""
    FINISHED = "finished"
    """A file was read to its end."""
    FAILED = "failed"
    """A file cannot be read, or not any further."""
    STOPPED = "stopped"
    """Ended from outside."""


OVER = (CameraState.FINISHED, CameraState.FAILED, CameraState.STOPPED)
"""No frame will ever come again."""
FLOWING = (
    CameraState.RUNNING,
    CameraState.DEGRADED,
    CameraState.FROZEN,
    CameraState.BLOCKED,
    CameraState.STALLED,
)
"""The connection has given its first frame and has not ended."""
