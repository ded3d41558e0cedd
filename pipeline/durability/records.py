"""What a checkpoint holds: one camera's whole memory, as records that know nothing of the program that wrote them.

None of them is tracked by the garbage collector (`gc=False`): they hold no cycles, and there are thousands a second.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engines.clips import ClipState, Seconds
from engines.events import EventState
from engines.snapshot import Snapshot
from pipeline.durability.clocks import Clocks
from pipeline.inference.continuity import Cause

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=-(1 << 62), le=1 << 62)]


class LastFrame(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """When the newest frame of the memory was taken: on the camera's media clock, UTC, and CLOCK_MONOTONIC."""

    media_ns: Nanoseconds
    captured_ns: Nanoseconds
    monotonic_ns: Nanoseconds


class RecentFrame(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What clips to come will say of a frame: drops before it, its flags, and which further inputs it had."""

    media_ns: Nanoseconds
    dropped: Count
    flags: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
    present: tuple[bool, ...]


class MemoryRecord(msgspec.Struct, frozen=True, gc=False):
    """What one camera remembers beside its state tensors: `CameraMemory.remember` makes it, `recall` takes it.

    `broken`: the last step went non-finite. `asked`: interruptions from outside that the next frame will meet.
    """

    session: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z-]{1,64}$")]
    reason: Cause
    age_steps: Count
    age_s: Seconds
    broken: bool
    asked: tuple[Cause, ...]
    last: LastFrame
    clips: ClipState
    events: EventState
    recent: tuple[RecentFrame, ...]


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What of a camera's settings must be the same for its memory to make sense.

    `source` is a digest of the address as it is shown, without its password.
    """

    rate_hz: float
    crop: tuple[float, float, float, float] | None
    source: str


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """One camera's memory, at the time `clocks`, written by the publisher of `epoch`.

    `size` is the picture's, where the newest connection told it: a change shows with the next one.
    """

    camera: str
    epoch: int
    clocks: Clocks
    facts: Facts
    size: tuple[int, int] | None
    snapshot: Snapshot
    memory: MemoryRecord

    def age_ns(self, elapsed_s: float) -> int:
        """How old the newest frame is, `elapsed_s` after the checkpoint."""
        return round(elapsed_s * 1e9) + max(0, self.clocks.monotonic_ns - self.memory.last.monotonic_ns)
