"""All cameras of one process: waits for any of them to have news."""

from __future__ import annotations

import selectors
import time
from functools import partial
from typing import TYPE_CHECKING

from pipeline.capture.bell import Bell
from pipeline.capture.supervisor import CameraSupervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from pipeline.capture.supervisor import CapturePlan

_GRACE_S = 1.0  # for all processes together: one that hangs in C code does not hear the signal


class Fleet:
    """The supervisors of all cameras behind one `wait`. A context manager: leaving it ends every capture process."""

    def __init__(self, plans: Iterable[CapturePlan] = ()) -> None:
        self._selector = selectors.DefaultSelector()
        self._watched: dict[str, tuple[int, int]] = {}
        self._bell = Bell()  # its own: no capture process has it
        self._selector.register(self._bell, selectors.EVENT_READ, self._woken)
        self.cameras: dict[str, CameraSupervisor] = {}
        self._leaving: list[CameraSupervisor] = []  # removed, and their processes not gone yet
        self.arrived: list[CameraSupervisor] = []  # since the last `wait`: those with new frames
        self._next_tick_s = 0.0
        for plan in plans:
            self.add(plan)

    def add(self, plan: CapturePlan, resume: tuple[int, int] | None = None) -> CameraSupervisor:
        """Make a camera and take it in.

        Raises:
            OSError: see `make`.
            ValueError: there is one of that name.
        """
        camera = self.make(plan, resume)
        self.admit(camera)
        return camera

    def make(self, plan: CapturePlan, resume: tuple[int, int] | None = None) -> CameraSupervisor:
        """A camera that is not in the fleet yet: `admit` it, or `close` it. For `resume` see `CameraSupervisor`.

        Raises:
            OSError: the system has no memory or descriptors left.
        """
        return CameraSupervisor(plan, resume)

    def admit(self, camera: CameraSupervisor) -> None:
        """Take in a camera; its capture process starts with the next `wait` or `start`.

        Raises:
            ValueError: there is one of that name.
        """
        name = camera.plan.name
        if name in self.cameras:
            raise ValueError(f"the fleet has a camera {name} already: remove it first")
        self.cameras[name] = camera
        self._selector.register(camera.bell, selectors.EVENT_READ, partial(self._arrive, camera))
        self._next_tick_s = 0.0

    def remove(self, name: str) -> None:
        """Let a camera go without waiting for its capture process; frames in its ring are lost."""
        camera = self.cameras.pop(name)
        self._selector.unregister(camera.bell)
        if (before := self._watched.pop(name, None)) is not None:
            self._selector.unregister(before[1])
        camera.dismiss(time.monotonic())
        self._leaving.append(camera)
        self._next_tick_s = 0.0

    def start(self) -> None:
        """Start the capture processes of new cameras without waiting for anything; what they give waits as well."""
        self._tick(time.monotonic())

    def watch(self, fd: int) -> None:
        """End a `wait` also when this descriptor can be read; whoever it belongs to has to read it then."""
        self._selector.register(fd, selectors.EVENT_READ, lambda: False)

    def wake(self) -> None:
        """End a `wait` at once; from any thread or signal handler."""
        self._bell.ring()

    @property
    def over(self) -> bool:
        """True when no camera will ever give a frame again."""
        return all(camera.over for camera in self.cameras.values())

    def wait(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for a frame or news of any camera, and let the supervisors work.

        Cameras that have new frames are in `arrived` then, unless their capture processes fail to tell.
        True where the state of a camera may have changed; a frame changes none.
        """
        now_s = time.monotonic()
        changed = self._tick(now_s)
        heard = False
        self.arrived = []
        limit_s = min(timeout_s, max(0.0, self._next_tick_s - now_s))
        for key, _ in self._selector.select(limit_s):
            heed: Callable[[], bool] = key.data
            heard = heed() or heard
        if heard:
            self._watch()
        return changed or heard

    def _woken(self) -> bool:
        self._bell.heard()
        return False

    def _arrive(self, camera: CameraSupervisor) -> bool:
        if camera.bell.heard():
            self.arrived.append(camera)
        return False

    def _listen(self, camera: CameraSupervisor) -> bool:
        camera.listen(time.monotonic())
        return True

    def _tick(self, now_s: float) -> bool:
        if now_s < self._next_tick_s:
            return False
        for camera in self.cameras.values():
            camera.tick(now_s)
        self._collect(now_s)
        due_s = [camera.next_tick_s() for camera in (*self.cameras.values(), *self._leaving)]
        self._next_tick_s = min(due_s, default=now_s + 1.0)
        self._watch()
        return True

    def _collect(self, now_s: float) -> None:
        """Give back what cameras that were removed still hold, once their processes are gone; never waits for one."""
        gone = [camera for camera in self._leaving if camera.is_gone(now_s)]
        for camera in gone:
            camera.close()
        self._leaving = [camera for camera in self._leaving if camera not in gone]

    def _watch(self) -> None:
        """Keep the selector's sockets those of the processes that live now (a number may be used again)."""
        for name, camera in self.cameras.items():
            now = (camera.connections, camera.process.fileno()) if camera.process else None
            before = self._watched.get(name)
            if now == before:
                continue
            if before is not None:
                self._selector.unregister(before[1])
                del self._watched[name]
            if now is None:
                self._next_tick_s = min(self._next_tick_s, camera.next_tick_s())
            else:
                self._selector.register(now[1], selectors.EVENT_READ, partial(self._listen, camera))
                self._watched[name] = now

    def halt(self) -> None:
        """End all processes together: each is asked first, then they are waited for. The rings stay readable."""
        for camera in self.cameras.values():
            camera.ask_to_leave()
        for camera in self._leaving:
            camera.halt(0.0)
        self._collect(time.monotonic())
        deadline_s = time.monotonic() + _GRACE_S
        for camera in self.cameras.values():
            camera.halt(max(0.0, deadline_s - time.monotonic()))

    def close(self) -> None:
        """Halt, and give all memory back."""
        self.halt()
        for camera in self.cameras.values():
            camera.close()
        self._selector.close()
        self._bell.close()  # what still runs may wake a fleet that is gone

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
