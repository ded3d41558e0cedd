"""Takes in the clients of a socket that listens, each in a task of its own. Belongs to one event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial

_RETRY_S = 0.2


class Reception:
    """Serves whoever connects, as long as it is open.

    Args:
        loop: the event loop, which need not run yet.
        serve: has the client's socket, which is closed when it returns.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, serve: Callable[[socket.socket], Coroutine[None, None, None]]
    ) -> None:
        self._loop, self._serve = loop, serve
        self._door: socket.socket | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def open(self, door: socket.socket) -> None:
        """Take in the clients of a socket that listens and does not block; it stays its owner's."""
        self.shut()
        self._door = door
        self._loop.add_reader(door, self._accept, door)

    def shut(self) -> None:
        """Take in nobody; who is inside may stay. To be called before the socket is closed."""
        if self._door is not None:
            self._loop.remove_reader(self._door)
            self._door = None

    def _accept(self, door: socket.socket) -> None:
        try:
            client, _ = door.accept()
        except BlockingIOError:  # the client has left again
            return
        except OSError:  # too many files are open, most likely: leave the others their time
            self._loop.remove_reader(door)
            self._loop.call_later(_RETRY_S, self._go_on, door)
            return
        client.settimeout(0)
        task = self._loop.create_task(self._serve(client))
        self._serving.add(task)
        # a task that is cancelled before its first step never sees its socket
        task.add_done_callback(partial(self._done, client))

    def _go_on(self, door: socket.socket) -> None:
        if self._door is door:
            self._loop.add_reader(door, self._accept, door)

    def _done(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        client.close()
