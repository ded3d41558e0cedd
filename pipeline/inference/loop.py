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
        self._ending: set[str] = set()
        self._over = False
        self._heartbeat_s = 0.0

    def run(self, stop: Callable[[], bool]) -> None:
        """Work until `stop()` is true or no camera will ever give a frame again; then say goodbye to subscribers."""
        while not stop() and not self._finished():
            # a frame, an encoded batch, a camera's news or a signal ends the wait
            changed = self._fleet.wait(0.0 if self._must_ask() else self._rest_s())
            for camera in self._fleet.arrived:
                self._runner_of[camera.plan.name].add([camera])
            if changed or not self._rest_s():
                self._report()
            self._move()
        for runner in self._runners:
            self._send(runner.finish())
        self._report()

    def _move(self) -> None:
        for runner in self._runners:
            runner.submit()
        for runner in self._runners:
            if runner.in_flight:
                # where the back end cannot wake this thread, it has to wait for the batch
                self._send(runner.collect(wait=not runner.wakes))
        for name in [name for name in self._ending if self._is_drained(name)]:
            self._ending.discard(name)
            self._send(self._memories[name].close())

    def _must_ask(self) -> bool:
        return any(runner.in_flight and not runner.wakes for runner in self._runners)

    def _rest_s(self) -> float:
        """Until the next heartbeat."""
        return max(0.0, self._heartbeat_s - time.monotonic())

    def farewell(self) -> None:
        """End open events and publish the last status of each camera; call once its capture has stopped."""
        for name, memory in self._memories.items():
            self._send(memory.close())
            self._send([self._status(self._fleet.cameras[name])])

    def _finished(self) -> bool:
        return self._over and all(self._is_drained(name) for name in self._fleet.cameras)

    def _is_drained(self, name: str) -> bool:
        """All that the camera's capture process left was processed."""
        return not self._fleet.cameras[name].ring.backlog and not self._runner_of[name].in_flight_of(name)

    def _send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._listener(self._publisher.publish(message))

    def _report(self) -> None:
        """A status of each camera every second, and of one at once when its state changes."""
        now_s = time.monotonic()
        due = now_s >= self._heartbeat_s
        if due:
            self._heartbeat_s = now_s + _HEARTBEAT_S
            for runner in self._runners:
                runner.look()
        self._over = self._fleet.over
        for camera in self._fleet.cameras.values():
            if camera.over and camera.plan.name not in self._ended:
                # a file's events end with its last frame, not with the whole run
                self._ended.add(camera.plan.name)
                self._ending.add(camera.plan.name)
            shown = (camera.state, camera.detail)
            if due or self._shown.get(camera.plan.name) != shown:
                self._shown[camera.plan.name] = shown
                self._send([self._status(camera)])

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
            inputs=runner.inputs_of(name),
        )
