"""Hot reload: a changed configuration is prepared in a thread beside the loop, and applied between two turns."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import VidpipeError

if TYPE_CHECKING:
    from pipeline.config.schema import Camera, Config
    from pipeline.live import LiveCameras, Prepared
    from pipeline.operations.monitor import Monitor

_log = logging.getLogger(__name__)

Loader = Callable[[], "tuple[Config, Mapping[str, Camera]]"]
_TAKEN_OVER = {"cameras"}


@dataclass(frozen=True)
class _Ready:
    """What the preparing thread leaves for the loop."""

    config: Config
    prepared: Prepared
    result: Future[str]


class Reloader:
    """Asked from any thread; `turn` and `look` belong to the loop's.

    Args:
        live: what runs.
        config: what it was started with.
        load: reads the configuration anew, with the cameras that are to run.
        wake: ends the loop's wait.
        file: looked at each second; None where changes of the file shall not count.
        monitor: is told when a reload begins and how it ends.
    """

    def __init__(
        self,
        live: LiveCameras,
        config: Config,
        load: Loader,
        wake: Callable[[], None],
        file: Path | None,
        *,
        monitor: Monitor,
    ) -> None:
        self._live, self._config, self._load, self._wake = live, config, load, wake
        self._monitor = monitor
        self._file, self._seen, self._settling = file, _stamp(file), _stamp(file)
        self._asked: deque[Future[str]] = deque()
        self._ready: _Ready | None = None
        self._busy = False

    def ask(self) -> Future[str]:
        """Have the configuration taken over; the future says what changed, or raises VidpipeError."""
        result: Future[str] = Future()
        self._asked.append(result)
        self._wake()
        return result

    def look(self) -> None:
        """Notice a file that has changed, once it has not changed again for a second."""
        stamp = _stamp(self._file)
        if stamp not in (self._seen, None) and stamp == self._settling:
            self._seen = stamp
            self.ask()
        self._settling = stamp

    def turn(self) -> None:
        """Begin what was asked for, and apply what is ready."""
        if (ready := self._ready) is not None:
            self._ready, self._busy = None, False
            self._apply(ready)
        if self._asked and not self._busy:
            self._busy = True
            self._seen = _stamp(self._file)
            self._monitor.reloading()
            threading.Thread(target=self._prepare, args=(self._asked.popleft(),), name="reload", daemon=True).start()

    def _prepare(self, result: Future[str]) -> None:
        try:
            config, cameras = self._load()
            self._ready = _Ready(config, self._live.prepare(cameras), result)
        except VidpipeError as error:
            self._refuse(result, error)
            self._busy = False
        except BaseException as error:
            self._monitor.reloaded(ok=False)
            result.set_exception(error)
            self._busy = False
            raise
        finally:
            self._wake()

    def _apply(self, ready: _Ready) -> None:
        try:
            changes = self._live.apply(ready.prepared)
        except VidpipeError as error:
            ready.prepared.close()
            self._refuse(ready.result, error)
            return
        for name in changes.removed:
            self._monitor.forget(name)
        self._monitor.reloaded(ok=True)
        text = f"{changes}{self._waiting(ready.config)}"
        _log.info("the configuration was taken over: %s", text)
        ready.result.set_result(text)

    def _refuse(self, result: Future[str], error: VidpipeError) -> None:
        _log.warning("the configuration is not taken over, everything runs on as it was: %s", error)
        self._monitor.reloaded(ok=False)
        result.set_exception(error)

    def _waiting(self, config: Config) -> str:
        """What changed and has to wait for a restart."""
        sections = [
            name
            for name in type(config).model_fields
            if name not in _TAKEN_OVER and getattr(config, name) != getattr(self._config, name)
        ]
        return f"; {', '.join(sections)} will change with the next start" if sections else ""


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    """What tells one state of a file from another; None where there is none."""
    try:
        status = file.stat() if file is not None else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status is not None else None
