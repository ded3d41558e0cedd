"""The runner of one model: batches in flight through its encoder, then one recurrent step for a whole batch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from engines.encoder import Encoder
from engines.temporal import Temporal
from pipeline.capture.ring import FrameHeader
from pipeline.capture.supervisor import CameraSupervisor
from pipeline.inference.batcher import make_batcher
from pipeline.inference.session import CameraMemory, StepInput
from pipeline.stream.messages import Event, Prediction


@dataclass(frozen=True)
class _Flight:
    """A batch inside the encoder."""

    request: int
    frames: tuple[tuple[str, FrameHeader], ...]
    started_ns: int


class ModelRunner:
    """Runs one bundle for its cameras. `submit` starts what is ready, `collect` finishes the oldest batch."""

    def __init__(
        self,
        encoder: Encoder,
        temporal: Temporal,
        cameras: Sequence[CameraSupervisor],
        memories: Mapping[str, CameraMemory],
    ) -> None:
        self._encoder = encoder
        self._temporal = temporal
        self._memories = memories
        self._rows = {camera.plan.name: temporal.pool.acquire(camera.plan.name) for camera in cameras}
        self._batcher = make_batcher(cameras, encoder.max_batch)
        self._free = deque(range(encoder.requests))
        self._flights: deque[_Flight] = deque()
        self.processed = dict.fromkeys(self._rows, 0)

    @property
    def in_flight(self) -> int:
        """Batches inside the encoder."""
        return len(self._flights)

    def in_flight_of(self, camera: str) -> int:
        """Frames of one camera inside the encoder."""
        return sum(1 for flight in self._flights for name, _ in flight.frames if name == camera)

    def submit(self) -> bool:
        """Start one batch if a request is free and frames are ready; True when it did."""
        if not self._free:
            return False
        cameras = self._batcher.next()
        if not cameras:
            return False
        request = self._free.popleft()
        frames = tuple(self._load(request, row, camera) for row, camera in enumerate(cameras))
        self._encoder.start(request, len(frames))
        self._flights.append(_Flight(request, frames, time.monotonic_ns()))
        return True

    def _load(self, request: int, row: int, camera: CameraSupervisor) -> tuple[str, FrameHeader]:
        header = camera.ring.peek()
        assert header is not None, "the batcher chose a camera without a frame"
        camera.ring.take(self._encoder.frames(request)[row])
        camera.free_slot()
        return camera.plan.name, header

    def ready(self) -> bool:
        """True when the oldest batch is encoded."""
        return bool(self._flights) and self._encoder.done(self._flights[0].request)

    def collect(self) -> Iterator[Prediction | Event]:
        """Wait for the oldest batch, step its cameras, and give what they say."""
        flight = self._flights.popleft()
        features = self._encoder.wait(flight.request)
        self._free.append(flight.request)
        encoded_ns = time.monotonic_ns()
        inputs: list[StepInput] = []
        for name, header in flight.frames:
            step, ended = self._memories[name].advance(header)
            inputs.append(step)
            yield from ended
        rows = np.array([self._rows[name] for name, _ in flight.frames])
        dt = np.array([step.dt_s for step in inputs], np.float32)
        keep = np.array([step.keep for step in inputs], np.float32)
        result = self._temporal.step(rows, features, dt, keep)
        stepped_ns = time.monotonic_ns()
        for index, (name, header) in enumerate(flight.frames):
            self.processed[name] += 1
            times = _stages(header, flight.started_ns, encoded_ns, stepped_ns)
            said = self._memories[name].observe(
                header, inputs[index], result.prob[index], finite=bool(result.ok[index])
            )
            for message in said:
                yield msgspec.structs.replace(message, latency=times)


def _stages(header: FrameHeader, started_ns: int, encoded_ns: int, stepped_ns: int) -> dict[str, int]:
    """Microseconds from grab to slot, in the ring, in the encoder and in the step, and from grab to here."""
    marks = (header.monotonic_ns, header.ready_ns, started_ns, encoded_ns, stepped_ns)
    names = ("capture", "queue", "encode", "step")
    stages = {name: (end - begin) // 1000 for name, begin, end in zip(names, marks, marks[1:], strict=False)}
    return {**stages, "total": (stepped_ns - header.monotonic_ns) // 1000}
