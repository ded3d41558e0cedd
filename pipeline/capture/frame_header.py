"""The facts of one frame: when it came, and what happened before it."""

from __future__ import annotations

from enum import IntFlag
from typing import NamedTuple


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
    REPEATS = 16
    """The picture equals the one before it in the ring, byte for byte."""
    FROZEN = 32
    """The picture has stood still for so long that it counts as frozen; set as long as it does."""
    CUT = 64
    """The picture has nothing in common with the one before it."""
    HELD = 128
    """Frames before this one were kept back because the picture was frozen."""


NOTHING = FrameFlag(0)
"""Nothing worth a word."""


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
    """Due frames that were thinned out, overran the ring or expired in it since the previous frame; set by the ring."""
    flags: FrameFlag

    @property
    def repeats(self) -> bool:
        """Whether the picture equals the one before it in the ring."""
        return bool(self.flags.value & FrameFlag.REPEATS.value)
