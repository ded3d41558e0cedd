"""A TCP server that says what a test tells it, as slowly as it likes: for probes and clients of any protocol."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

Script = Callable[[socket.socket, threading.Event], None]


class ScriptedServer:
    """Runs a script for each connection, until the test is over (`ended` is set) or the script returns."""

    def __init__(self, script: Script) -> None:
        self.connections = 0
        self._script = script
        self._ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name="scripted-server")]
        self._threads[0].start()

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), name="scripted-connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._script(connection, self._ended)


def answers(*replies: bytes) -> Script:
    """Answer each request that comes with the next reply, then wait; `%CSEQ%` stands for the request's number."""

    def script(connection: socket.socket, ended: threading.Event) -> None:
        connection.settimeout(10)
        for reply in replies:
            request = connection.recv(65536)
            number = next((line[5:].strip() for line in request.split(b"\r\n") if line.startswith(b"CSeq")), b"0")
            connection.sendall(reply.replace(b"%CSEQ%", number))
        ended.wait(10)

    return script


def says(data: bytes) -> Script:
    """Say something at once and wait."""

    def script(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(data)
        ended.wait(10)

    return script


def drips(data: bytes, pause_s: float = 0.02) -> Script:
    """Send the data over and over, a byte at a time."""

    def script(connection: socket.socket, ended: threading.Event) -> None:
        while True:
            for at in range(len(data)):
                connection.sendall(data[at : at + 1])
                if ended.wait(pause_s):
                    return

    return script


def silent(connection: socket.socket, ended: threading.Event) -> None:
    """Take the connection and say nothing."""
    ended.wait(10)


def hangs_up(connection: socket.socket, ended: threading.Event) -> None:
    """Close at the first request."""
    connection.recv(65536)
