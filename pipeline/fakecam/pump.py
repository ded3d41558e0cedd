"""One direction of a connection through the proxy: takes bytes, holds them back, changes them and passes them on."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipeline.fakecam.conditions import Conditions
from pipeline.fakecam.proxy_faults import Bandwidth, Blackhole, Cut, Direction, Garble, Latency, Slice

_CHUNK_BYTES = 65536
_CHUNKS_AHEAD = 64  # delayed chunks that one direction holds; beyond, the sender waits
_PACE_S = 0.02  # how long a piece lasts under a limited bandwidth


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
