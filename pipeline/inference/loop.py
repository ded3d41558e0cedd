"""The inference loop: capture, runners and publisher in one thread, until everything is over or a stop is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.capture.fleet import Fleet
from pipeline.capture.supervisor import CameraState, CameraSupervisor
from pipeline.inference.continuity import Cause
from pipeline.inference.runner import ModelRunner
from pipeline.inference.session import CameraMemory
from pipeline.stream.messages import Counts, Message, Status
from pipeline.stream.publisher import Publisher

_HEARTBEAT_S = 1.0


@dataclass(frozen=True)
class Chores:
    """What else is done in the loop's thread: in each turn, which must cost next to nothing, and each second."""

    turn: Callable[[], None] = lambda: None
    second: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class _Lane:
    """One camera's way through the loop."""

    camera: CameraSupervisor
    runner: ModelRunner
    memory: CameraMemory


class InferenceLoop:
    """Moves frames to runners and messages to the publisher. `listener` sees each message as it was published.

    `alarms` says what is wrong with vidpipe itself; every status repeats it.
    """

    def __init__(
        self,
        fleet: Fleet,
        publisher: Publisher,
        listener: Callable[[Message], None],
        alarms: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._fleet = fleet
        self._lanes: dict[str, _Lane] = {}
        self._runners: list[ModelRunner] = []
        self._publisher = publisher
        self._listener = listener
        self._alarms = alarms
        self._shown: dict[str, tuple[CameraState, str]] = {}
        self._ended: set[str] = set()
        self._ending: set[str] = set()
        self._over = False
        self._heartbeat_s = 0.0

    def add(self, camera: CameraSupervisor, runner: ModelRunner, memory: CameraMemory) -> None:
        """Take in a camera of the fleet, or give one that is known another runner or memory."""
        name = camera.plan.name
        self._lanes[name] = _Lane(camera, runner, memory)
        self._runners = list({id(lane.runner): lane.runner for lane in self._lanes.values()}.values())
        self._ended.discard(name)
        self._ending.discard(name)  # the camera that was to end is another one now
        self._over = False

    def end(self, name: str, cause: Cause) -> None:
        """End a camera's open events."""
        self._send(self._lanes[name].memory.close(cause))

    def last_status(self, name: str) -> Status:
        """What is to be said last of a camera that will be let go: that it is stopped."""
        return self._status(self._lanes[name], CameraState.STOPPED)

    def remove(self, name: str, last: Status) -> None:
        """Let a camera go, which its runner may have forgotten; its open events end here."""
        lane = self._lanes.pop(name)
        self._send(lane.memory.close())
        self._send([last])
        self._runners = list({id(each.runner): each.runner for each in self._lanes.values()}.values())
        self._shown.pop(name, None)
        self._ending.discard(name)

    def processed(self, name: str) -> int:
        """How many of a camera's frames were stepped."""
        return self._lanes[name].runner.processed[name]

    def drain(self) -> None:
        """Finish what is in flight, so that cameras and runners may change."""
        for runner in self._runners:
            self._send(runner.drain())

    def run(self, stop: Callable[[], bool], chores: Chores = Chores()) -> None:
        """Work until `stop()` is true or no camera will ever give a frame again; then say goodbye to subscribers."""
        while not stop() and not self._finished():
            # a frame, an encoded batch, a camera's news or a signal ends the wait
            changed = self._fleet.wait(0.0 if self._must_ask() else self._rest_s())
            for camera in self._fleet.arrived:
                self._lanes[camera.plan.name].runner.add([camera])
            if changed or not self._rest_s():
                self._report(chores)
            self._move()
            chores.turn()
        for runner in self._runners:
            self._send(runner.finish())
        self._report(chores)

    def _move(self) -> None:
        for runner in self._runners:
            runner.submit()
        for runner in self._runners:
            if runner.in_flight:
                # where the back end cannot wake this thread, it has to wait for the batch
                self._send(runner.collect(wait=not runner.wakes))
        for name in [name for name in self._ending if self._is_drained(name)]:
            self._ending.discard(name)
            self._send(self._lanes[name].memory.close())

    def _must_ask(self) -> bool:
        return any(runner.in_flight and not runner.wakes for runner in self._runners)

    def _rest_s(self) -> float:
        """Until the next heartbeat."""
        return max(0.0, self._heartbeat_s - time.monotonic())

    def farewell(self) -> None:
        """End open events and publish the last status of each camera; call once its capture has stopped."""
        for lane in self._lanes.values():
            self._send(lane.memory.close())
            self._send([self._status(lane)])

    def _finished(self) -> bool:
        return self._over and all(self._is_drained(name) for name in self._lanes)

    def _is_drained(self, name: str) -> bool:
        """All that the camera's capture process left was processed."""
        lane = self._lanes[name]
        return not lane.camera.ring.backlog and not lane.runner.in_flight_of(name)

    def _send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._listener(self._publisher.publish(message))

    def _report(self, chores: Chores) -> None:
        """A status of each camera every second, and of one at once when its state changes."""
        now_s = time.monotonic()
        due = now_s >= self._heartbeat_s
        if due:
            self._heartbeat_s = now_s + _HEARTBEAT_S
            for runner in self._runners:
                runner.look()
            chores.second()
        self._over = self._fleet.over
        for name, lane in self._lanes.items():
            camera = lane.camera
            if camera.over and name not in self._ended:
                # a file's events end with its last frame, not with the whole run
                self._ended.add(name)
                self._ending.add(name)
            shown = (camera.state, camera.detail)
            if due or self._shown.get(name) != shown:
                self._shown[name] = shown
                self._send([self._status(lane)])

    def _status(self, lane: _Lane, state: CameraState | None = None) -> Status:
        camera, runner, memory = lane.camera, lane.runner, lane.memory
        name, now_s = camera.plan.name, time.monotonic()
        counts = camera.ring.counts()
        last = camera.ring.last_written()
        return Status(
            camera=name,
            epoch=0,
            seq=0,
            session=memory.session,
            media_time=round(last[0] / 1e9, 6) if last else 0.0,
            state=(state or camera.state).value,
            detail="" if state else camera.detail,
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
            interruptions=dict(memory.interruptions),
            resets=dict(memory.reset_causes),
            reconnects=dict(camera.reconnects),
            frame_age_s=round(now_s - last[1] / 1e9, 3) if last else -1.0,
            retry_in_s=-1.0 if state else round(camera.retry_in_s(now_s), 3),
            alarms=self._alarms(),
        )
