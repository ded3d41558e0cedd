"""One connection through the proxy: two directions, each with the faults that act on it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from pipeline.fakecam.change import Change
from pipeline.fakecam.proxy_faults import Bandwidth, Blackhole, Cut, Direction, Garble, Latency, LinkFault, Slice

F = TypeVar("F", bound=LinkFault)

_CHUNK_BYTES = 65536
_CHUNKS_AHEAD = 64  # delayed chunks that one direction holds; beyond, the sender waits
_PACE_S = 0.02  # how long a piece lasts under a limited bandwidth


class Conditions:
    """The faults that act now. Belongs to one event loop."""

    def __init__(self) -> None:
        self.change = Change()
        self._active: dict[tuple[type[object], Direction], tuple[LinkFault, float]] = {}

    def set(self, fault: LinkFault, direction: Direction) -> None:
        """Let a fault act, in the place of one of its kind in that direction."""
        self._active[type(fault), direction] = fault, time.monotonic()
        self.change.tell()

    def end(self, fault: LinkFault, direction: Direction) -> None:
        """Let it act no longer, unless another has taken its place."""
        if self._active.get((type(fault), direction), (None,))[0] is fault:
            del self._active[type(fault), direction]
            self.change.tell()

    def clear(self, kind: type[LinkFault] | None) -> int:
        """End all faults or those of a kind; gives how many."""
        keys = [key for key in self._active if kind in (None, key[0])]
        for key in keys:
            del self._active[key]
        self.change.tell()
        return len(keys)

    def find(self, kind: type[F], direction: Direction) -> tuple[F, float] | None:
        """The fault of a kind that acts in a direction, and since when."""
        for key in ((kind, direction), (kind, "both")):
            if (found := self._active.get(key)) and isinstance(found[0], kind):
                return found[0], found[1]
        return None

    def cuts_at_once(self) -> Cut | None:
        """The fault that lets no connection live."""
        cut = self.get(Cut, "up") or self.get(Cut, "down")
        return cut if cut and cut.after_bytes == 0 else None

    def get(self, kind: type[F], direction: Direction) -> F | None:
        """The fault of a kind that acts in a direction."""
        found = self.find(kind, direction)
        return found[0] if found else None


class CutOffError(Exception):
    """A fault ends the connection."""

    def __init__(self, how: Literal["reset", "close"]) -> None:
        super().__init__(how)
        self.how = how


@dataclass
class Passed:
    """Bytes that a direction has passed, in all and since a fault that counts them began."""

    total: int = 0
    since_s: float = 0.0
    before: int = 0


class Pump:
    """One direction of a connection."""

    def __init__(
        self,
        ends: tuple[socket.socket, socket.socket],
        direction: Direction,
        conditions: Conditions,
        count: Callable[[Direction, int], None],
    ) -> None:
        self._source, self._sink = ends
        self._direction, self._conditions, self._count = direction, conditions, count
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._taken = asyncio.Event()
        self._passed = Passed()
        self._dice: tuple[object, random.Random] = (None, random.Random())  # noqa: S311 - damage, no secret
        self._delays: tuple[object, random.Random] = (None, random.Random())  # noqa: S311 - delays, no secret
        self._due_s = 0.0

    async def read(self) -> None:
        """Take what the source sends until its end. Raises OSError."""
        data = b"-"
        while data:
            await self._open_road()
            await self._room()
            data = await self._loop.sock_recv(self._source, _CHUNK_BYTES)
            self._due_s = max(self._due_s, time.monotonic() + self._delay_s())
            self._waiting.put_nowait((self._due_s, data))

    async def write(self) -> None:
        """Hand it to the sink, as the faults want it. Raises OSError and CutOffError."""
        while True:
            due_s, data = await self._waiting.get()
            self._taken.set()
            if (left_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(left_s)
            await self._open_road()
            if not data:
                self._sink.shutdown(socket.SHUT_WR)
                return
            await self._pass(self._garbled(data))

    async def _room(self) -> None:
        """Hold no more than a delay needs, so that a sender feels a slow link."""
        while self._waiting.qsize() >= (_CHUNKS_AHEAD if self._conditions.get(Latency, self._direction) else 1):
            self._taken.clear()
            await self._taken.wait()

    async def _open_road(self) -> None:
        while self._conditions.get(Blackhole, self._direction):
            await self._conditions.change.wait()

    async def _pass(self, data: bytes) -> None:
        while data:
            await self._open_road()
            size, pause_s = self._piece(len(data))
            left = self._left()
            await self._loop.sock_sendall(self._sink, data[: min(size, left)])
            self._passed.total += min(size, left)
            self._count(self._direction, min(size, left))
            if left <= size and (cut := self._conditions.get(Cut, self._direction)):
                raise CutOffError(cut.how)
            data = data[size:]
            if pause_s:
                await self._conditions.change.wait(pause_s)

    def _piece(self, waiting: int) -> tuple[int, float]:
        """How many bytes go now, and the pause after them."""
        size, pause_s = waiting, 0.0
        if part := self._conditions.get(Slice, self._direction):
            size, pause_s = min(size, part.piece_bytes), part.pause_s
        if band := self._conditions.get(Bandwidth, self._direction):
            size = min(size, max(1, int(band.bytes_per_s * _PACE_S)))
            pause_s = max(pause_s, size / band.bytes_per_s)
        return size, pause_s

    def _left(self) -> int:
        """How many bytes may pass before the connection is cut."""
        found = self._conditions.find(Cut, self._direction)
        if found is None:
            return 1 << 60
        cut, since_s = found
        if self._passed.since_s != since_s:
            self._passed.since_s, self._passed.before = since_s, self._passed.total
        return max(0, self._passed.before + cut.after_bytes - self._passed.total)

    def _delay_s(self) -> float:
        latency = self._conditions.get(Latency, self._direction)
        if latency is None:
            return 0.0
        self._delays = _seeded(self._delays, latency, f"{latency.seed}{self._direction}")
        return latency.delay_s + latency.jitter_s * self._delays[1].random()

    def _garbled(self, data: bytes) -> bytes:
        garble = self._conditions.get(Garble, self._direction)
        if garble is None:
            return data
        self._dice = _seeded(self._dice, garble, f"{garble.seed}{self._direction}")
        changed, dice = bytearray(data), self._dice[1]
        at = _gap(garble.rate, dice)
        while at < len(changed):
            changed[at] ^= dice.randrange(1, 256)
            at += 1 + _gap(garble.rate, dice)
        return bytes(changed)


def _seeded(known: tuple[object, random.Random], fault: object, seed: str) -> tuple[object, random.Random]:
    """Random numbers that begin anew with each fault."""
    if known[0] is not fault:
        known[1].seed(seed)
    return fault, known[1]


def _gap(rate: float, dice: random.Random) -> int:
    """Bytes between two that are hit: geometric, so that most bytes cost nothing."""
    if rate >= 1:
        return 0
    return int(math.log(1 - dice.random()) / math.log(1 - rate)) if rate > 0 else 1 << 60


class Link:
    """A client and the server, as long as both are there."""

    def __init__(self, client: socket.socket, server: socket.socket, conditions: Conditions) -> None:
        self._ends, self._conditions = (client, server), conditions
        self._tasks: list[asyncio.Task[None]] = []
        self._asked: Literal["reset", "close", ""] = ""

    async def run(self, count: Callable[[Direction, int], None]) -> bool:
        """Pass bytes until both sides have ended, one breaks off or a fault cuts; True where a fault did."""
        client, server = self._ends
        if fault := self._conditions.cuts_at_once():
            self._asked = fault.how
            self._finish()
            return True
        pumps = (
            Pump((client, server), "up", self._conditions, count),
            Pump((server, client), "down", self._conditions, count),
        )
        self._tasks = [asyncio.ensure_future(work) for pump in pumps for work in (pump.read(), pump.write())]
        try:
            await asyncio.gather(*self._tasks)
        except CutOffError as cut:
            self._asked = cut.how
        except OSError:
            self._reset()
        except asyncio.CancelledError:
            if not self._asked:
                raise
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            self._finish()
        return bool(self._asked)

    def cut(self, how: Literal["reset", "close"]) -> None:
        """End both sides now."""
        self._asked = how
        for task in self._tasks:
            task.cancel()

    def _finish(self) -> None:
        if self._asked == "reset":
            self._reset()
        for end in self._ends:
            end.close()

    def _reset(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
