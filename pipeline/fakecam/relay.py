"""An event loop in a thread of its own that accepts a proxy's clients and passes their connections on."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pipeline.fakecam.conditions import Conditions
from pipeline.fakecam.link import Link
from pipeline.fakecam.port import bound, listening
from pipeline.fakecam.proxy_faults import Cut, Direction, LinkFault, Refuse
from pipeline.fakecam.reception import Reception

T = TypeVar("T")

_CONNECT_S = 10.0


class Relay:
    """The proxy between one start and the next stop.

    Args:
        target: host and port of the server.
        note: called with the name of each thing worth counting, and by how much.
    """

    def __init__(self, target: tuple[str, int], note: Callable[[str, int], None]) -> None:
        self._target, self._note = target, note
        self._conditions, self._ended = Conditions(), asyncio.Event()
        self._links: set[Link] = set()
        self._listening: socket.socket | None = None

    def start(self, host: str, port: int) -> int:
        """Listen and serve; gives the port. Raises SourceError where the address cannot be had."""
        self._holder = bound(host, port)
        self._loop = asyncio.new_event_loop()
        self._reception = Reception(self._loop, self._serve)
        self._listen()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._thread.start()
        return int(self._holder.getsockname()[1])

    def stop(self) -> None:
        """End all connections, and the loop and its thread."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._holder.close()

    def call(self, act: Callable[[Relay], T]) -> T:
        """Run a function in the loop's thread and wait until it is done."""

        async def run() -> T:
            return act(self)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(5.0)

    def inject(self, fault: LinkFault, direction: Direction, for_s: float | None, after_s: float) -> None:
        """Let a fault begin, now or later; in the loop's thread."""
        begin = partial(self._begin, fault, direction, for_s)
        if after_s > 0:
            self._loop.call_later(after_s, begin)
        else:
            begin()

    def clear(self, kind: type[LinkFault] | None) -> int:
        """End faults; gives how many. In the loop's thread."""
        ended = self._conditions.clear(kind)
        self._listen()
        return ended

    def _begin(self, fault: LinkFault, direction: Direction, for_s: float | None) -> None:
        if isinstance(fault, Cut) and fault.after_bytes == 0:
            for link in self._links:
                link.cut(fault.how)
            if for_s is None:
                return
        self._conditions.set(fault, direction)
        self._listen()
        if for_s is not None:
            self._loop.call_later(for_s, self._end, fault, direction)

    def _end(self, fault: LinkFault, direction: Direction) -> None:
        self._conditions.end(fault, direction)
        self._listen()

    def _listen(self) -> None:
        """Listen, or not while connections are to be refused."""
        refused = any(self._conditions.get(Refuse, way) for way in ("up", "down", "both"))
        if refused and self._listening is not None:
            self._close()
        elif not refused and self._listening is None:
            self._listening = listening(*self._holder.getsockname()[:2])
            self._reception.open(self._listening)

    def _close(self) -> None:
        if self._listening is not None:
            self._reception.shut()
            self._listening.close()
            self._listening = None

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        await self._ended.wait()
        self._close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.05)

    async def _serve(self, client: socket.socket) -> None:
        self._note("connections", 1)
        server = socket.socket(socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET)
        with server:
            server.settimeout(0)
            try:
                await asyncio.wait_for(self._loop.sock_connect(server, self._target), _CONNECT_S)
            except (OSError, asyncio.TimeoutError):
                self._note("unreachable", 1)
                return
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._pass(Link(client, server, self._conditions))

    async def _pass(self, link: Link) -> None:
        self._links.add(link)
        self._note("open", 1)
        try:
            if await link.run(self._note):
                self._note("cut", 1)
        finally:
            self._links.discard(link)
            self._note("open", -1)
