"""An event loop in a thread of its own that accepts clients for a server's cameras."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pipeline.fakecam.board import Board, Injection, View
from pipeline.fakecam.camera import Camera, StartMode
from pipeline.fakecam.connection import Connection
from pipeline.fakecam.faults import Close, Fault, Off, Reset, SlowAccept
from pipeline.fakecam.history import Closed, History, Opened
from pipeline.fakecam.line import Line
from pipeline.fakecam.media import Media
from pipeline.fakecam.port import bound, listening
from pipeline.fakecam.reception import Reception
from pipeline.rtsp.auth import Guard

T = TypeVar("T")

_ENCODING_THREADS = 4
_HANDSHAKE_S = 10.0
_SPREAD_S = 1.0
_FLUSH_S = 5.0  # for what is on its way when a connection closes


class _Protocol(asyncio.StreamReaderProtocol):
    """Knows its transport from the end of the handshake on: a task that is cancelled at that moment never gets it."""

    _made: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made = transport
        super().connection_made(transport)

    def abort(self) -> None:
        """End the connection at once, where there is one: a mere close would wait for the client's farewell."""
        if isinstance(self._made, asyncio.WriteTransport):
            self._made.abort()


class Listener:
    """The server between one start and the next stop."""

    def __init__(
        self,
        media: Mapping[str, Media],
        start: StartMode,
        guard: Guard | None,
        history: History,
        began_at: float,
    ) -> None:
        self._board = Board(history, self._listen)
        self._executor = ThreadPoolExecutor(_ENCODING_THREADS, thread_name_prefix="fakecam-encode")
        # live cameras run out of step, as real ones do: in step, all their pictures would come in one burst
        self._cameras = {
            path: Camera(
                path,
                one,
                start,
                began_at=began_at - _SPREAD_S * k / len(media),
                executor=self._executor,
                view=View(self._board, 0.0, path),
            )
            for k, (path, one) in enumerate(media.items())
        }
        self._guard, self._history = guard, history
        self._connections: set[Connection] = set()

    def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen and serve; gives the port. Raises SourceError where the address cannot be had."""
        self._socket, self._off = listening(host, port), False
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._reception = Reception(self._loop, self._serve)
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="fakecam", daemon=True)
        self._thread.start()
        return int(self._socket.getsockname()[1])

    def stop(self) -> None:
        """Hang up on all clients, and end the loop and its threads."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._executor.shutdown(wait=True)

    def call(self, act: Callable[[Listener], T]) -> T:
        """Run a function in the loop's thread and wait until it is done."""

        async def run() -> T:
            return act(self)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(5.0)

    def disconnect(self, path: str | None, *, reset: bool = False) -> None:
        """Hang up on clients; in the loop's thread."""
        for connection in tuple(self._connections):
            if path in (None, connection.path):
                connection.close(reset=reset)

    def inject(self, asked: Injection) -> None:
        """Let a fault begin, now or later; in the loop's thread."""
        if asked.after_s > 0:
            self._loop.call_later(asked.after_s, self._begin, asked)
        else:
            self._begin(asked)

    def clear(self, path: str | None, kind: type[Fault] | None) -> int:
        """End faults; gives how many. In the loop's thread."""
        return self._board.clear(path, kind)

    def _begin(self, asked: Injection) -> None:
        active, fault = self._board.begin(asked), asked.fault
        ends_all = isinstance(fault, Off) or (isinstance(fault, Reset | Close) and not fault.at)
        if ends_all and asked.reach != "new":
            self.disconnect(asked.path, reset=not isinstance(fault, Close))
        if active is not None and asked.for_s is not None:
            self._loop.call_later(asked.for_s, self._board.end, active)

    def _listen(self) -> None:
        """Listen, or hold the port without listening while the camera is switched off."""
        if self._ended.is_set():
            return
        off = self._board.find(Off, None, time.monotonic()) is not None
        if off != self._off:
            place = self._socket.getsockname()[:2]
            self._reception.shut()
            before, self._off = self._socket, off
            if off:  # a socket that listens lets nobody else have its port, one that does not shares it
                before.close()
            self._socket = bound(*place) if off else listening(*place)
            before.close()
            if not off:
                self._reception.open(self._socket)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        self._reception.open(self._socket)
        await self._ended.wait()
        self._reception.shut()
        self._board.clear()
        self._socket.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:  # again and again, since `wait_for` before Python 3.12 can swallow a cancellation
                task.cancel()
            await asyncio.wait(tasks, timeout=0.05)
        for _ in range(5):  # a closed transport lets its socket go a few turns of the loop later
            await asyncio.sleep(0)

    async def _serve(self, sock: socket.socket) -> None:
        opened_s = time.monotonic()
        view = View(self._board, opened_s)
        while (slow := view.find(SlowAccept)) and (left_s := opened_s + slow.delay_s - time.monotonic()) > 0:
            await view.changed(left_s)
        reader = asyncio.StreamReader()
        protocol = _Protocol(reader)
        patience = _HANDSHAKE_S if self._tls else None
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, sock, ssl=self._tls, ssl_handshake_timeout=patience
            )
        except OSError:  # no TLS, or not with this certificate: the client's choice
            return
        except asyncio.CancelledError:
            protocol.abort()
            raise
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        number = self._history.counters.connections + 1
        line, cameras = Line(writer, view), self._cameras
        connection = Connection(reader, line, number=number, cameras=cameras, guard=self._guard, history=self._history)
        self._connections.add(connection)
        peer = "{}:{}".format(*writer.get_extra_info("peername")[:2])
        self._history.note(Opened(time_s=time.monotonic(), connection=number, peer=peer))
        try:
            await connection.serve()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), _FLUSH_S)
        finally:
            self._connections.discard(connection)
            transport.abort()
            self._history.note(Closed(time_s=time.monotonic(), connection=number))
