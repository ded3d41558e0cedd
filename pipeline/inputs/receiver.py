"""What has arrived of all further inputs: samples checked and kept by their times, bad ones counted and dropped."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from engines.errors import StreamError
from engines.further import FurtherInput
from pipeline.inputs.complaints import Complaints
from pipeline.inputs.sample import InputSample, decode, topic
from pipeline.inputs.sockets import Endpoint, InputSockets
from pipeline.inputs.timeline import Timeline, Vector
from pipeline.stream.messages import InputCounts

if TYPE_CHECKING:
    from types import TracebackType

    from pipeline.capture.ring import FrameHeader
    from pipeline.keys.server import ServerKeys

_KEPT_BYTES = 4 << 20  # of samples that wait for their frames, per input and clock
_LEAST_KEPT, _MOST_KEPT = 64, 4096
_AHEAD_NS = 5_000_000_000
_LATE_NS = 10_000_000_000


@dataclass(frozen=True)
class InputPlan:
    """One further input of one camera, and where its samples come from."""

    camera: str
    further: FurtherInput
    endpoint: Endpoint


class InputReceiver:
    """The newest samples of every input that is configured. Used from one thread, which it never makes wait.

    Raises:
        StreamError: an address cannot be bound or connected to, or is open to others with no `keys` and not `insecure`.
    """

    def __init__(self, plans: Sequence[InputPlan], *, insecure: bool = False, keys: ServerKeys | None = None) -> None:
        self._inputs = {(plan.camera, plan.further.name): _Received(plan) for plan in plans}
        self._by_topic = {topic(camera, name): received for (camera, name), received in self._inputs.items()}
        self._complaints = Complaints()
        self._refused = 0
        largest = max((plan.further.size for plan in plans), default=0)
        self._sockets = InputSockets([plan.endpoint for plan in plans], largest=largest, insecure=insecure, keys=keys)
        self.addresses = self._sockets.addresses

    def read(self) -> None:
        """Take in what has arrived, as far as about two milliseconds allow."""
        for frames in self._sockets.receive():
            self._take(frames)
        if self._sockets.refused > self._refused:
            self._refused = self._sockets.refused
            error = StreamError("the key of its sender is not for that camera")
            self._complaints.now_and_then("further inputs", self._refused, error)

    def sample(self, camera: str, name: str, header: FrameHeader) -> Vector | None:
        """The newest values, float32 `[size]`, that were taken before the frame and are not too old for it."""
        received = self._inputs.get((camera, name))
        return received.at(header) if received is not None else None

    def counts(self, camera: str) -> dict[str, InputCounts]:
        """How many samples of each of a camera's inputs came, and how many of those were dropped as wrong."""
        return {
            name: InputCounts(received.accepted, received.rejected)
            for (of_camera, name), received in self._inputs.items()
            if of_camera == camera
        }

    def _take(self, frames: list[bytes]) -> None:
        received = self._by_topic.get(frames[0])
        if received is None:
            self._complaints.once("values that no camera here takes come under the topic", frames[0])
            return
        try:
            if len(frames) != 2:
                raise StreamError(f"it has {len(frames)} parts, which should be topic and body")
            received.add(decode(frames[1]), time.time_ns())
        except StreamError as error:
            received.rejected += 1
            self._complaints.now_and_then(received.name, received.rejected, error)

    def close(self) -> None:
        """Let go of all addresses."""
        self._sockets.close()

    def __enter__(self) -> InputReceiver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class _Received:
    """Samples of one input that are good so far, on the wall clock and on the camera's media clock."""

    plan: InputPlan
    accepted: int = 0
    rejected: int = 0
    wall: Timeline = field(init=False)
    media: Timeline = field(init=False)

    def __post_init__(self) -> None:
        most = min(_MOST_KEPT, max(_LEAST_KEPT, _KEPT_BYTES // (4 * self.plan.further.size)))
        self.wall, self.media = Timeline(most), Timeline(most)

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"input {self.plan.further.name} of {self.plan.camera}"

    def add(self, sample: InputSample, now_ns: int) -> None:
        """Keep a sample; StreamError says why it is refused."""
        further = self.plan.further
        if (sample.camera, sample.input) != (self.plan.camera, further.name):
            raise StreamError(f"its body says {sample.camera!r:.80} and {sample.input!r:.80}, its topic says otherwise")
        if len(sample.values) != further.size:
            raise StreamError(f"it has {len(sample.values)} values, the model takes {further.size}")
        with np.errstate(over="ignore"):
            values = np.array(sample.values, np.float32)
        if not np.isfinite(values).all():
            raise StreamError("its values are not all finite float32 numbers")
        if sample.media_time is None:
            captured_ns = sample.captured_at or now_ns
            self._check_clock(captured_ns - now_ns)
            self.wall.add(captured_ns, values)
        else:
            self.media.add(_media_ns(sample.media_time), values)
        self.accepted += 1

    def at(self, header: FrameHeader) -> Vector | None:
        """The newest sample at a frame's time on either clock."""
        found = [
            (frame_ns - newest[0], newest[1])
            for timeline, frame_ns in ((self.wall, header.captured_ns), (self.media, header.media_ns))
            if (newest := timeline.newest(frame_ns)) is not None
        ]
        age_ns, values = min(found, key=lambda each: each[0], default=(0, None))
        return values if age_ns <= self.plan.further.max_age_s * 1e9 else None

    def _check_clock(self, ahead_ns: int) -> None:
        if ahead_ns > _AHEAD_NS:
            raise StreamError(f"it is from {ahead_ns / 1e9:.0f} s ahead: set the clocks of both machines alike")
        late_ns = -ahead_ns - self.plan.further.max_age_s * 1e9
        if late_ns > _LATE_NS:
            raise StreamError(f"it is {-ahead_ns / 1e9:.0f} s old: send it sooner, or set both machines' clocks alike")


def _media_ns(media_s: float) -> int:
    if not math.isfinite(media_s) or abs(media_s) > 1e9:
        raise StreamError(f"its media_time is {media_s!r}, which is no time in seconds")
    return round(media_s * 1e9)
