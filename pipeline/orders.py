"""What a running vidpipe can be told to do from outside, carried out between two turns of its loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

from engines.errors import ConfigError
from pipeline.inference.continuity import Cause

if TYPE_CHECKING:
    from pipeline.control.protocol import Request
    from pipeline.control.server import Handler
    from pipeline.live import LiveCameras
    from pipeline.reload import Reloader


class Orders:
    """`handlers` are called from any thread; `turn` belongs to the loop's."""

    def __init__(self, live: LiveCameras, reloader: Reloader, wake: Callable[[], None]) -> None:
        self._live, self._wake = live, wake
        self._resets: deque[tuple[Request, Future[str]]] = deque()
        self.handlers: Mapping[str, Handler] = {"reload": lambda _: reloader.ask(), "reset": self._ask_reset}

    def turn(self) -> None:
        """Carry out what was asked for."""
        while self._resets:
            request, result = self._resets.popleft()
            unknown = [name for name in request.cameras if name not in self._live.cameras]
            if unknown:
                running = ", ".join(self._live.cameras)
                result.set_exception(ConfigError(f"no camera {unknown[0]} is running; there are {running}"))
                continue
            names = request.cameras or tuple(self._live.cameras)
            self._live.interrupt(names, Cause.OPERATOR)
            result.set_result(f"the policy for operator ({self._policies(names)}) takes effect with the next frame")

    def _ask_reset(self, request: Request) -> Future[str]:
        result: Future[str] = Future()
        self._resets.append((request, result))
        self._wake()
        return result

    def _policies(self, names: tuple[str, ...]) -> str:
        return ", ".join(f"{name}: {self._live.cameras[name].continuity.operator}" for name in names)
