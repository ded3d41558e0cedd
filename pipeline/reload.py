"""Hot reload: a changed configuration is prepared in a thread beside the loop, and applied between two turns."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.errors import ConfigError, VidpipeError

if TYPE_CHECKING:
    from types import TracebackType

    from pipeline.config.file_watch import FileWatch
    from pipeline.config.schema import Camera, Config
    from pipeline.live import LiveCameras
    from pipeline.operations.monitor import Monitor
    from pipeline.prepared import Prepared

_log = logging.getLogger(__name__)

Loader = Callable[[], "tuple[Config, Mapping[str, Camera]]"]
_TAKEN_OVER = {"cameras"}
_PATIENCE_S = 10.0  # a thread that still compiles when the interpreter ends makes C++ abort the process

_Asked = list["Future[str]"]
"""All that asked before the configuration was read: one reload is the answer to them all."""


@dataclass(frozen=True)
class _Ready:
    """What the preparing thread leaves for the loop."""

    config: Config
    prepared: Prepared
    asked: _Asked


class Reloader:
    """Asked from any thread; all else belongs to the loop's. A context manager: leaving it ends what is being prepared.

    Args:
        live: what runs.
        config: what it was started with.
        load: reads the configuration anew, with the cameras that are to run.
        wake: ends the loop's wait.
        watch: of the configuration's file, looked at each second.
        monitor: is told when a reload begins and how it ends.
    """

    def __init__(
        self,
        live: LiveCameras,
        config: Config,
        load: Loader,
        wake: Callable[[], None],
        watch: FileWatch,
        *,
        monitor: Monitor,
    ) -> None:
        self._live, self._config, self._load, self._wake = live, config, load, wake
        self._watch, self._monitor = watch, monitor
        self._asked: deque[Future[str]] = deque()
        self._ready: _Ready | None = None
        self._thread: threading.Thread | None = None
        self._busy = False

    def ask(self) -> Future[str]:
        """Have the configuration taken over; the future says what changed, or raises VidpipeError."""
        result: Future[str] = Future()
        self._asked.append(result)
        self._wake()
        return result

    def look(self) -> None:
        """Notice a file that has changed, once it has not changed again for a second."""
        if self._watch.is_changed():
            self.ask()

    def turn(self) -> None:
        """Begin what was asked for, and apply what is ready."""
        if (ready := self._ready) is not None:
            self._ready, self._busy = None, False
            self._apply(ready)
        if self._asked and not self._busy:
            self._busy = True
            asked = [self._asked.popleft() for _ in range(len(self._asked))]
            self._watch.is_read()
            self._monitor.reloading()
            self._thread = threading.Thread(target=self._prepare, args=(asked,), name="reload", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait a while for what is being prepared, and drop it."""
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.prepared.close()
        for result in [*self._asked, *(ready.asked if ready else [])]:
            result.set_exception(ConfigError("vidpipe run is stopping: start it with the new configuration"))

    def _prepare(self, asked: _Asked) -> None:
        try:
            config, cameras = self._load()
            self._ready = _Ready(config, self._live.prepare(cameras), asked)
        except VidpipeError as error:
            self._refuse(asked, error)
            self._busy = False
        except BaseException as error:
            self._refuse(asked, ConfigError(f"{type(error).__name__} in vidpipe itself: see its log"))
            self._busy = False
            raise
        finally:
            self._wake()

    def _apply(self, ready: _Ready) -> None:
        try:
            changes = self._live.apply(ready.prepared)
        except VidpipeError as error:
            self._refuse(ready.asked, error)
            return
        except (OSError, MemoryError, RuntimeError) as error:  # the last is what engines raise that ran out of memory
            reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
            self._refuse(ready.asked, ConfigError(f"it cannot be taken over now: {reason}"))
            return
        for name in changes.removed:
            self._monitor.forget(name)
        self._monitor.reloaded(ok=True)
        text = f"{changes}{self._waiting(ready.config)}"
        _log.info("the configuration was taken over: %s", text)
        for result in ready.asked:
            result.set_result(text)

    def _refuse(self, asked: _Asked, error: VidpipeError) -> None:
        _log.warning("the configuration is not taken over, everything runs on as it was: %s", error)
        self._monitor.reloaded(ok=False)
        for result in asked:
            result.set_exception(error)

    def _waiting(self, config: Config) -> str:
        """What changed and has to wait for a restart."""
        sections = [
            name
            for name in type(config).model_fields
            if name not in _TAKEN_OVER and getattr(config, name) != getattr(self._config, name)
        ]
        return f"; {', '.join(sections)} will change with the next start" if sections else ""

    def __enter__(self) -> Reloader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
