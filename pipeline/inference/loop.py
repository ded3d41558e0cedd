"""The inference loop: capture, runners and publisher in one thread, until everything is over or a stop is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipeline.capture.fleet import Fleet
from pipeline.capture.supervisor import CameraState, CameraSupervisor
from pipeline.inference.runner import ModelRunner
from pipeline.inference.session import CameraMemory
from pipeline.stream.messages import Counts, Message, Status
from pipeline.stream.publisher import Publisher

_HEARTBEAT_S = 1.0


class InferenceLoop:
    """Moves frames to runners and messages to the publisher. `listener` sees each message as it was published."""

    def __init__(
        self,
        fleet: Fleet,
        runners: Mapping[str, ModelRunner],
        memories: Mapping[str, CameraMemory],
        publisher: Publisher,
        listener: Callable[[Message], None],
    ) -> None:
        self._fleet = fleet
        self._runner_of = runners
        self._runners: Sequence[ModelRunner] = list({id(r): r for r in runners.values()}.values())
        self._memories = memories
        self._publisher = publisher
        self._listener = listener
        self._shown: dict[str, tuple[CameraState, str]] = {}
        self._ended: set[str] = set()
        self._heartbeat_s = 0.0

    def run(self, stop: Callable[[], bool]) -> None:
        """Work until `stop()` is true or no camera will ever give a frame again; then say goodbye to subscribers."""
        moved = True
        while not stop() and not self._finished():
            self._wait(idle=not moved)
            self._report()
            moved = False
            for runner in self._runners:
                moved |= runner.submit()
            for runner in self._runners:
                if runner.ready() or (runner.in_flight and not moved):
                    self._send(runner.collect())
                    moved = True
        for runner in self._runners:
            while runner.in_flight:
                self._send(runner.collect())
        self._report()

    def farewell(self) -> None:
        """End open events and publish the last status of each camera; call once its capture has stopped."""
        for name, memory in self._memories.items():
            self._send(memory.close())
            self._send([self._status(self._fleet.cameras[name])])

    def _wait(self, *, idle: bool) -> None:
        """Take the cameras' news; wait for some only when there was nothing to do."""
        in_flight = any(runner.in_flight for runner in self._runners)
        rest_s = max(0.0, self._heartbeat_s - time.monotonic())
        self._fleet.wait(rest_s if idle and not in_flight else 0.0)

    def _finished(self) -> bool:
        if not self._fleet.over or any(runner.in_flight for runner in self._runners):
            return False
        return not any(camera.ring.backlog for camera in self._fleet.cameras.values())

    def _send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._listener(self._publisher.publish(message))

    def _report(self) -> None:
        """A status of each camera every second, and of one at once when its state changes."""
        now_s = time.monotonic()
        due = now_s >= self._heartbeat_s
        if due:
            self._heartbeat_s = now_s + _HEARTBEAT_S
        for camera in self._fleet.cameras.values():
            self._end_events(camera)
            shown = (camera.state, camera.detail)
            if due or self._shown.get(camera.plan.name) != shown:
                self._shown[camera.plan.name] = shown
                self._send([self._status(camera)])

    def _end_events(self, camera: CameraSupervisor) -> None:
        """A file's events end with its last frame, not with the whole run."""
        name = camera.plan.name
        if not camera.over or name in self._ended or camera.ring.backlog:
            return
        if not self._runner_of[name].in_flight_of(name):
            self._ended.add(name)
            self._send(self._memories[name].close())

    def _status(self, camera: CameraSupervisor) -> Status:
        name = camera.plan.name
        counts = camera.ring.counts()
        runner, memory = self._runner_of[name], self._memories[name]
        last = camera.ring.last_written()
        return Status(
            camera=name,
            epoch=0,
            seq=0,
            session=memory.session,
            media_time=round(last[0] / 1e9, 6) if last else 0.0,
            state=camera.state.value,
            detail=camera.detail,
            counts=Counts(
                grabbed=counts.grabbed,
                due=counts.due,
                processed=runner.processed[name],
                thinned=counts.thinned,
                overrun=counts.overrun,
                in_flight=counts.waiting + runner.in_flight_of(name),
                damaged=counts.damaged,
                resets=memory.resets,
                connections=camera.connections,
            ),
        )
