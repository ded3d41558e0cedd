"""The runner of one model: batches in flight through its encoder, then one recurrent step for a whole batch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.encoder import Encoder
from engines.snapshot import Snapshot
from engines.temporal import Temporal
from pipeline.capture.ring import FrameFlag, FrameHeader, Picture
from pipeline.capture.supervisor import CameraSupervisor
from pipeline.inference.batch_size import best_batch
from pipeline.inference.batcher import Batcher, any_live, make_batcher
from pipeline.inference.last_features import LastFeatures
from pipeline.inference.session import CameraMemory, StepInput
from pipeline.inputs.packing import InputPacker
from pipeline.stream.messages import Event, InputCounts, Prediction

_FLIGHTS_A_REQUEST = 4
_NOTHING = np.zeros(0, np.float32)


@dataclass
class _Flight:
    """A batch on its way: inside the encoder until it has features, then waiting for its turn to step.

    `features` has no rows for frames that repeat the one before.
    """

    request: int
    frames: tuple[tuple[CameraSupervisor, FrameHeader], ...]
    started_ns: int
    encoded_ns: int = 0
    features: NDArray[np.float32] | None = None


class ModelRunner:
    """Runs one bundle for its cameras. `submit` starts what is ready, `collect` finishes what is encoded.

    `inputs` brings what the model reads beside the video, where it reads something. `most` is the largest batch for
    frames that come one by one; without it the encoder is timed when the first such camera comes.
    """

    def __init__(
        self,
        encoder: Encoder,
        temporal: Temporal,
        cameras: Sequence[CameraSupervisor],
        memories: Mapping[str, CameraMemory],
        wake: Callable[[], None],
        *,
        inputs: InputPacker | None = None,
        most: int | None = None,
    ) -> None:
        self._encoder = encoder
        self._temporal = temporal
        self._memories = memories
        self.inputs = inputs
        self._cameras: dict[str, CameraSupervisor] = {}
        self._rows: dict[str, int] = {}
        self._encoded: set[str] = set()  # cameras that have a frame which a repeated one may take its features from
        self._most = most
        self.processed: dict[str, int] = {}
        for camera in cameras:
            self._seat(camera)
        self._batcher = self._make_batcher(self._cameras.values())
        self._free = deque(range(encoder.requests))
        self._flights: deque[_Flight] = deque()
        self._ended: set[int] = set()  # requests that the back end called finished, from a thread of its own
        self._last = LastFeatures()
        self._wake = wake
        self.wakes = encoder.listen(self._finished)
        self._stopping = False

    def enlist(self, camera: CameraSupervisor, snapshot: Snapshot | None = None, processed: int = 0) -> None:
        """Take in a camera, with what it remembers and how many of its frames were processed; only after `drain`.

        Raises:
            ModelError: no row is free, or the snapshot is not of this model; the camera is not taken in then.
        """
        name, batcher = camera.plan.name, self._batcher
        row = self._seat(camera)
        try:
            if snapshot is not None:
                self._temporal.pool.restore(row, snapshot)
            self._batcher = self._make_batcher(self._cameras.values())
        except BaseException:
            del self._cameras[name], self.processed[name], self._rows[name]
            self._temporal.pool.release(row)
            self._batcher = batcher
            raise
        self.processed[name] = processed

    def dismiss(self, name: str) -> Snapshot:
        """Let a camera go and give what its row remembers; only after `drain`.

        Raises:
            ModelError: the row cannot be read; the camera stays then.
        """
        snapshot = self._temporal.pool.snapshot(self._rows[name], age_steps=0, age_s=0.0)
        batcher = self._make_batcher(camera for other, camera in self._cameras.items() if other != name)
        self._temporal.pool.release(self._rows.pop(name))
        del self._cameras[name], self.processed[name]
        self._last.forget(name)
        self._encoded.discard(name)
        self._batcher = batcher
        return snapshot

    def snapshots(self, ages: Mapping[str, tuple[int, float]]) -> list[Snapshot]:
        """Copies of what cameras' rows remember, in the order of `ages`: steps and seconds since each one's reset."""
        return self._temporal.pool.snapshots([self._rows[name] for name in ages], list(ages.values()))

    def drain(self) -> Iterator[Prediction | Event]:
        """Fetch and step what is in flight; what waits in the rings goes on waiting."""
        yield from self.finish()
        self._stopping = False

    def _seat(self, camera: CameraSupervisor) -> int:
        name = camera.plan.name
        row = self._rows[name] = self._temporal.pool.acquire(name)
        self._cameras[name] = camera
        self.processed[name] = 0
        return row

    def _make_batcher(self, of: Iterable[CameraSupervisor]) -> Batcher:
        cameras, encoder = list(of), self._encoder
        if self._most is None and any_live(cameras):
            self._most = best_batch(encoder)
        most = self._most or encoder.max_batch
        batcher = make_batcher(cameras, lambda count: encoder.fit(min(count, most)))
        batcher.look()
        return batcher

    def _finished(self, request: int) -> None:
        self._ended.add(request)
        self._wake()

    @property
    def in_flight(self) -> int:
        """Batches that are not stepped yet."""
        return len(self._flights)

    def in_flight_of(self, camera: str) -> int:
        """Frames of one camera that are taken and not stepped yet."""
        return sum(1 for flight in self._flights for each, _ in flight.frames if each.plan.name == camera)

    def add(self, arrived: Iterable[CameraSupervisor]) -> None:
        """Frames of these cameras of its own have come."""
        self._batcher.add(arrived)

    def look(self) -> None:
        """Look for frames that nobody told of, and for what came beside them."""
        self._batcher.look()
        if self.inputs is not None:
            self.inputs.read()

    def inputs_of(self, camera: str) -> dict[str, InputCounts]:
        """What came of the further inputs of one camera."""
        return self.inputs.counts(camera) if self.inputs is not None else {}

    def submit(self) -> None:
        """Start what is ready as long as a request is free."""
        most = _FLIGHTS_A_REQUEST * self._encoder.requests  # repeated frames need no request and could go on for ever
        while self._free and len(self._flights) < most and not self._stopping:
            cameras = self._batcher.next(len(self._free))
            if not cameras:
                return
            request = self._free.popleft()
            pictures = iter(self._encoder.frames(request))
            loaded = ((camera, self._load(camera, pictures)) for camera in cameras)
            frames = tuple([(camera, header) for camera, header in loaded if header is not None])
            if not frames:
                self._free.append(request)
                continue
            flight = _Flight(request, frames, time.monotonic_ns())
            self._flights.append(flight)
            if fresh := sum(not header.repeats for _, header in frames):
                self._ended.discard(request)
                self._encoder.start(request, fresh)
            else:
                flight.features, flight.encoded_ns = _NOTHING, flight.started_ns
                self._free.append(request)
                self._wake()  # as an encoder does when it has finished

    def _load(self, camera: CameraSupervisor, pictures: Iterator[Picture]) -> FrameHeader | None:
        """Take the camera's oldest frame, and its picture where that is to be encoded.

        None where it has gone since the batcher saw it: the ring is shared with a capture process, which may go mad.
        """
        header = camera.ring.peek()
        if header is None:
            return None
        if header.repeats and (self._encoder.lends_features or camera.plan.name not in self._encoded):
            header = header._replace(flags=header.flags & ~FrameFlag.REPEATS)
        if header.repeats:
            camera.ring.skip()
        else:
            self._encoded.add(camera.plan.name)
            camera.ring.take(next(pictures))
        camera.free_slot()
        return header

    def collect(self, *, wait: bool = False) -> Iterator[Prediction | Event]:
        """Fetch all that is encoded, start what is ready on the requests that this frees, and step what is next.

        With `wait`, at least the oldest batch is fetched. Batches step in the order in which they were started.
        """
        for flight in self._flights:
            if flight.features is None and (wait or self._is_encoded(flight)):
                flight.features = self._encoder.wait(flight.request)
                flight.encoded_ns = time.monotonic_ns()
                if not self._encoder.lends_features:
                    self._free.append(flight.request)
            wait = False
        self.submit()
        while self._flights and self._flights[0].features is not None:
            flight = self._flights.popleft()
            yield from self._step(flight)
            if self._encoder.lends_features:
                flight.features = None  # else they would be copied out of the request's memory
                self._free.append(flight.request)
        self.submit()

    def finish(self) -> Iterator[Prediction | Event]:
        """Fetch and step what is in flight, and start nothing more: an overloaded pipeline always has more to start."""
        self._stopping = True
        while self._flights:
            yield from self.collect(wait=True)

    def _is_encoded(self, flight: _Flight) -> bool:
        return flight.request in self._ended or (not self.wakes and self._encoder.done(flight.request))

    def _step(self, flight: _Flight) -> Iterator[Prediction | Event]:
        """One recurrent step for the whole batch, and what its cameras then say."""
        inputs: list[StepInput] = []
        for camera, header in flight.frames:
            step, ended = self._memories[camera.plan.name].advance(header)
            inputs.append(step)
            yield from ended
        names = [camera.plan.name for camera, _ in flight.frames]
        rows = [self._rows[name] for name in names]
        features, present = self._seen([(camera.plan.name, header) for camera, header in flight.frames], flight)
        result = self._temporal.step(
            rows, features, [step.dt_s for step in inputs], [float(step.keep) for step in inputs]
        )
        stepped_ns = time.monotonic_ns()
        for index, (name, (_, header)) in enumerate(zip(names, flight.frames, strict=True)):
            self.processed[name] += 1
            said = self._memories[name].observe(
                header, inputs[index], result.prob[index], finite=bool(result.ok[index]), present=present[index]
            )
            for message in said:
                yield msgspec.structs.replace(message, latency=_stages(header, flight, stepped_ns))

    def _seen(
        self, frames: Sequence[tuple[str, FrameHeader]], flight: _Flight
    ) -> tuple[NDArray[np.float32], Sequence[Sequence[bool]]]:
        """What the step reads of each frame, and which further inputs each has."""
        assert flight.features is not None
        features = flight.features
        if not self._encoder.lends_features:
            features = self._last.complete(frames, features)
        return self.inputs.pack(frames, features) if self.inputs is not None else (features, [()] * len(frames))


def _stages(header: FrameHeader, flight: _Flight, stepped_ns: int) -> dict[str, int]:
    """Microseconds from grab to slot, in the ring, in the encoder and in the step, and from grab to here."""
    marks = (header.monotonic_ns, header.ready_ns, flight.started_ns, flight.encoded_ns, stepped_ns)
    names = ("capture", "queue", "encode", "step")
    stages = {name: (end - begin) // 1000 for name, begin, end in zip(names, marks, marks[1:], strict=False)}
    return {**stages, "total": (stepped_ns - header.monotonic_ns) // 1000}
