"""One connection through the proxy: a client, the server and both directions between them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Literal

from pipeline.fakecam.conditions import Conditions
from pipeline.fakecam.proxy_faults import Direction
from pipeline.fakecam.pump import CutOffError, Pump


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
