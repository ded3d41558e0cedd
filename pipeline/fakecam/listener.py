"""An event loop in a thread of its own that accepts clients for a server's cameras."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from engines.errors import SourceError
from pipeline.fakecam.camera import Camera, StartMode
from pipeline.fakecam.connection import Connection
from pipeline.fakecam.media import Media
from pipeline.rtsp.auth import Guard

_ENCODING_THREADS = 4


class Listener:
    """The server between one start and the next stop."""

    def __init__(
        self,
        media: Mapping[str, Media],
        start: StartMode,
        guard: Guard | None,
        note: Callable[[str], None],
        began_at: float,
    ) -> None:
        self._executor = ThreadPoolExecutor(_ENCODING_THREADS, thread_name_prefix="fakecam-encode")
        self._cameras = {
            path: Camera(path, one, start, began_at=began_at, executor=self._executor) for path, one in media.items()
        }
        self._guard, self._note = guard, note
        self._loop = asyncio.new_event_loop()
        self._connections: set[Connection] = set()
        self._thread = threading.Thread(target=self._run, name="fakecam", daemon=True)

    def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen and serve; gives the port."""
        try:
            server = self._loop.run_until_complete(asyncio.start_server(self._serve, host, port, ssl=tls))
        except OSError as error:
            self._loop.close()
            number = error.errno or 0  # below 0 for a failed name look-up
            reason = (os.strerror(number) if number > 0 else error.strerror or str(error)).lower()
            raise SourceError(f"a camera cannot be served at {host}:{port}: {reason}; choose another port") from error
        self._server = server
        self._thread.start()
        return int(server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """End the loop and its threads."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._executor.shutdown(wait=True)

    def call(self, act: Callable[[Listener], None]) -> None:
        """Run a function in the loop's thread and wait until it is done."""

        async def run() -> None:
            act(self)

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(5.0)

    def disconnect(self, path: str | None) -> None:
        """Hang up on clients; in the loop's thread."""
        for connection in tuple(self._connections):
            if path is None or (connection.camera is not None and connection.camera.path == path):
                connection.close()

    def set_paused(self, path: str | None, *, paused: bool) -> None:
        """Let cameras hang, or end it; in the loop's thread."""
        for camera in self._cameras.values():
            if path in (None, camera.path):
                camera.paused = paused

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._server.close()
            for connection in tuple(self._connections):
                connection.abort()
            self._loop.run_until_complete(self._end_tasks())
            self._loop.close()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self._cameras, self._guard, self._note)
        self._connections.add(connection)
        self._note("connections")
        try:
            # asyncio before 3.12 reports a client's task that was cancelled as a fault
            with contextlib.suppress(asyncio.CancelledError):
                await connection.serve()
        finally:
            self._connections.discard(connection)
