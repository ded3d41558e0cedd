"""A TCP proxy with faults on command, for any server: latency, bandwidth, half-open links, resets, damaged bytes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TypeVar

import msgspec

from engines.errors import ConfigError, SourceError
from pipeline.fakecam.link import Conditions, Link
from pipeline.fakecam.port import bound, listening
from pipeline.fakecam.proxy_faults import Cut, Direction, LinkFault, Refuse

T = TypeVar("T")

_CONNECT_S = 10.0
_RETRY_S = 0.2


@dataclass(frozen=True)
class ProxyCounters:
    """What a proxy has seen since it was made."""

    connections: int
    open: int  # now
    unreachable: int  # the server could not be reached for them
    cut: int  # ended by a fault
    up_bytes: int  # passed from clients to the server
    down_bytes: int


class FaultProxy:
    """Passes connections on to a server, with faults that any thread may begin and end at any moment.

    The port stays its own from the first start to `stop`, also while connections are refused. A fault acts on present
    and coming connections until it is cleared.

    Args:
        target_host, target_port: the server.
        host: address to listen on.
        port: 0 takes a free one from the system, which `port` then gives.
    """

    def __init__(self, target_host: str, target_port: int, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._target, self._host, self._port = (target_host, target_port), host, port
        self._counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port; 0 before a first start that takes one from the system."""
        return self._port

    @property
    def address(self) -> str:
        """Where clients connect, as `host:port`."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    @property
    def counters(self) -> ProxyCounters:
        """What has been seen so far."""
        with self._changed:
            seen = self._counts
            return ProxyCounters(
                seen["connections"], seen["open"], seen["unreachable"], seen["cut"], seen["up"], seen["down"]
            )

    def start(self) -> None:
        """Listen. Raises SourceError where the address cannot be had; does nothing where it is running."""
        if self._thread is not None:
            return
        self._holder = bound(self._host, self._port)
        self._port = self._holder.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._conditions, self._ended = Conditions(), asyncio.Event()
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._listening: socket.socket | None = None
        self._listen()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every connection, close the port and end the thread; faults end too."""
        if self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._thread = None
        self._holder.close()

    def inject(
        self, fault: LinkFault, direction: Direction = "both", *, for_s: float | None = None, after_s: float = 0.0
    ) -> None:
        """Let a fault begin; it acts when this returns, until `for_s` seconds are over, it is cleared or `stop`.

        With `after_s` it begins so many seconds later.

        It takes the place of one of its kind in that direction. `Cut` of 0 bytes happens once where `for_s` is not
        given.

        Raises:
            ConfigError: the values contradict themselves.
            SourceError: the proxy is not running.
        """
        name = type(fault).__name__
        try:
            fault = msgspec.convert(msgspec.to_builtins(fault), type(fault))
        except msgspec.ValidationError as error:
            raise ConfigError(f"the fault {name.lower()} cannot be had so: {error}") from error
        if self._thread is None:
            raise SourceError(f"{name} cannot be injected: the proxy is not running; start it first")
        begin = partial(self._begin, fault, direction, for_s)
        self._call(partial(self._loop.call_later, after_s, begin) if after_s > 0 else begin)

    def clear(self, kind: type[LinkFault] | None = None) -> int:
        """End all faults, or those of a kind; gives how many there were."""
        return self._call(lambda: self._clear(kind)) if self._thread is not None else 0

    def wait_for(self, condition: Callable[[ProxyCounters], bool], timeout_s: float = 10.0) -> bool:
        """Wait until the counters meet a condition; False when time has run out."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self.counters), timeout_s)

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _call(self, act: Callable[[], T]) -> T:
        async def run() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(5.0)

    def _note(self, what: str, by: int = 1) -> None:
        with self._changed:
            self._counts[what] += by
            self._changed.notify_all()

    # in the loop's thread from here on

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

    def _clear(self, kind: type[LinkFault] | None) -> int:
        ended = self._conditions.clear(kind)
        self._listen()
        return ended

    def _listen(self) -> None:
        """Listen, or not while connections are to be refused."""
        refused = any(self._conditions.get(Refuse, way) for way in ("up", "down", "both"))
        if refused and self._listening is not None:
            self._close()
        elif not refused and self._listening is None:
            self._listening = listening(self._host, self._port)
            self._loop.add_reader(self._listening, self._accept)

    def _close(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
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

    def _accept(self) -> None:
        assert self._listening is not None
        try:
            client, _ = self._listening.accept()
        except BlockingIOError:  # the client has left again
            return
        except OSError:  # too many files are open, most likely: leave the others their time
            self._close()
            self._loop.call_later(_RETRY_S, self._listen)
            return
        client.settimeout(0)
        task = self._loop.create_task(self._serve(client))
        self._opening.add(task)
        task.add_done_callback(partial(self._done, client))

    def _done(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        client.close()

    async def _serve(self, client: socket.socket) -> None:
        self._note("connections")
        server = socket.socket(socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET)
        with server:
            server.settimeout(0)
            try:
                await asyncio.wait_for(self._loop.sock_connect(server, self._target), _CONNECT_S)
            except (OSError, asyncio.TimeoutError):
                self._note("unreachable")
                return
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._pass(Link(client, server, self._conditions))

    async def _pass(self, link: Link) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        self._note("open")
        try:
            if await link.run(self._note):
                self._note("cut")
        finally:
            del self._links[link]
            self._note("open", -1)
