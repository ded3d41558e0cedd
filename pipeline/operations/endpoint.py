"""A small HTTP server in a thread of its own: a few pages to read, nothing to write."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, NamedTuple

from engines.errors import StreamError

if TYPE_CHECKING:
    from types import TracebackType

_log = logging.getLogger(__name__)
DEFAULT_BIND = "127.0.0.1:9108"
_PATIENCE_S = 5.0  # for a whole request
_MOST_AT_ONCE = 8
_NUDGE_S = 1.0
_BREATH_S = 0.2
_ROOM_S = 0.5
PLAIN = "text/plain; charset=utf-8"
INSTANCE_HEADER = "X-Vidpipe-Instance"
SERVER = "vidpipe"


class Page(NamedTuple):
    """What is answered."""

    status: HTTPStatus
    body: bytes
    content_type: str = PLAIN


Pages = Mapping[str, Callable[[], Page]]
_NOT_FOUND = Page(HTTPStatus.NOT_FOUND, b"not found\n")


class Endpoint:
    """Serves `pages` at `host:port` (`[host]:port` for IPv6; port 0: one that the system chooses). A context manager.

    `instance` goes out with each answer, in the header `INSTANCE_HEADER`.

    Raises:
        StreamError: the address is taken or is none.
    """

    def __init__(self, bind: str, pages: Pages, setting: str = "metrics.bind", *, instance: str = "") -> None:
        host, port = split_address(bind, setting)
        try:
            self._server = _Server(host, port, pages, instance)
        except OSError as error:
            raise StreamError(
                f"{setting} {bind} cannot be bound ({error.strerror or error}): choose another port, or off"
            ) from error
        bound = self._server.server_address
        self.address = f"[{bound[0]!s}]:{bound[1]}" if ":" in host else f"{bound[0]!s}:{bound[1]}"
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing:
            self._server.handle_request()

    def close(self) -> None:
        """Let go of the address; requests under way are not waited for."""
        self._closing = True
        with suppress(OSError), socket.create_connection(reachable_at(self.address), timeout=_NUDGE_S):
            self._thread.join(_NUDGE_S)  # a connection ends its wait
        self._server.server_close()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def split_address(bind: str, setting: str = "metrics.bind") -> tuple[str, int]:
    """Host and port of `host:port`.

    Raises:
        StreamError: the port is none.
    """
    host, _, port = bind.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise StreamError(f"{setting} is {bind}: it must end with a port up to 65535, such as 127.0.0.1:9108")
    return host.strip("[]"), int(port)


def reachable_at(bind: str) -> tuple[str, int]:
    """Host and port at which this machine reaches what is bound to `bind`."""
    host, port = split_address(bind)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - it is replaced


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32
    allow_reuse_port = False  # two processes would share the port, and each see half of the requests

    def __init__(self, host: str, port: int, pages: Pages, instance: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.pages, self.instance = pages, instance
        self._open: dict[socket.socket, None] = {}  # oldest first
        self._free = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__((host, port), _Handler)

    def get_request(self) -> tuple[Any, Any]:
        """Take a connection; where that fails, as without free descriptors, the next try waits a little."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_BREATH_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the request; where too many are open, the oldest is hung up on."""
        if not self._free.acquire(blocking=False):
            for oldest in list(self._open)[:1]:
                _hang_up(oldest)
            if not self._free.acquire(timeout=_ROOM_S):
                self.shutdown_request(request)
                return
        self._open[request] = None
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._leave(request)  # no thread could be started
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve it, within a time that the client cannot stretch."""
        limit = threading.Timer(_PATIENCE_S, _hang_up, [request])
        limit.daemon = True
        limit.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            limit.cancel()
            self._leave(request)

    def _leave(self, request: Any) -> None:
        self._open.pop(request, None)
        self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's signature
        """A client that leaves is no news; a page that fails is."""
        level = logging.DEBUG if isinstance(sys.exc_info()[1], OSError) else logging.WARNING
        _log.log(level, "a request to the metrics endpoint failed", exc_info=True)


def _hang_up(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = SERVER
    sys_version = ""
    timeout = _PATIENCE_S

    def do_GET(self) -> None:
        """Answer with the page of that path."""
        make = self.server.pages.get(self.path.partition("?")[0])
        page = make() if make else _NOT_FOUND
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.server.instance:
            self.send_header(INSTANCE_HEADER, self.server.instance)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's signature
        """Requests are no news."""
        _log.debug("metrics endpoint: " + format, *args)
