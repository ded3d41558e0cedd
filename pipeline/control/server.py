"""The control socket of a vidpipe that runs: takes orders in a thread of its own and waits until they are done."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import StreamError
from pipeline.control.protocol import SOCKET_NAME, Answer, Request, decode_request, encode, read_line, socket_path

if TYPE_CHECKING:
    from types import TracebackType

_PATIENCE_S = 5.0  # for somebody who connects and says nothing
_WORK_S = 60.0
_BREATH_S = 0.2

_log = logging.getLogger(__name__)

Handler = Callable[[Request], "Future[str]"]


class ControlServer:
    """Listens in the state folder, which only its owner can enter. A folder without sockets costs the orders, no more.

    Args:
        folder: held by this process.
        handlers: by order; called in the server's thread, and what they promise is waited for.
    """

    def __init__(self, folder: Path, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)
        self._path = folder / SOCKET_NAME
        self._closing = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._path.unlink(missing_ok=True)  # left by a process that was killed; the folder is ours
            with socket_path(folder) as name:
                self._socket.bind(name)
            self._path.chmod(0o600)
            self._socket.listen(8)
        except OSError as error:
            _log.warning("vidpipe reload and reset will not work: %s: %s", self._path, error.strerror)
            return
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; an order that is being carried out gets no answer."""
        self._closing.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with suppress(OSError):
            self._path.unlink()

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed, or no descriptor is free at the moment
                self._closing.wait(_BREATH_S)
                continue
            with connection, suppress(OSError):
                connection.settimeout(_PATIENCE_S)
                connection.sendall(encode(self._answer(connection)))

    def _answer(self, connection: socket.socket) -> Answer:
        try:
            request = decode_request(read_line(connection, _PATIENCE_S))
        except StreamError as error:
            return Answer(ok=False, text=str(error))
        done = self._handlers[request.do](request)
        try:
            fault = done.exception(_WORK_S)
        except FutureTimeoutError:
            return Answer(ok=False, text=f"it is not done after {_WORK_S:.0f} s: see the log of vidpipe run")
        return Answer(ok=True, text=done.result()) if fault is None else Answer(ok=False, text=str(fault))

    def __enter__(self) -> ControlServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
