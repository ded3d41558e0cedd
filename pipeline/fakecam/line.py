"""The sending side of one client's connection: whole messages, patience with a slow client, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import struct

from pipeline.fakecam.board import View
from pipeline.fakecam.faults import Drip

_CLIENT_PATIENCE_S = 10.0  # a client that takes nothing for so long is gone
_BACKLOG_BYTES = 256 * 1024  # beyond it, sending waits for the client


class Line:
    """Sends messages one after another, byte by byte while a `drip` lasts."""

    def __init__(self, writer: asyncio.StreamWriter, view: View) -> None:
        self.writer, self.view = writer, view
        self._turn = asyncio.Lock()

    def host(self, name: str) -> str:
        """The address of this side (`sockname`) or the other (`peername`)."""
        return str(self.writer.get_extra_info(name)[0])

    async def send(self, data: bytes) -> None:
        """Write a message; waits while the client is behind, up to a limit. Raises OSError where it is gone."""
        async with self._turn:
            rest = data[await self._dripped(data) :]
            self._check()
            self.writer.write(rest)
            if self.writer.transport.get_write_buffer_size() > _BACKLOG_BYTES:
                await self._drain()

    async def cut(self, data: bytes, *, reset: bool) -> None:
        """Write half of a message and end the connection."""
        self.writer.write(data[: len(data) // 2])
        await asyncio.sleep(0)
        self.end(reset=reset)

    def end(self, *, reset: bool) -> None:
        """End the connection by RST, without what is still on its way, or by FIN, after it."""
        if not reset:
            self.writer.close()
            return
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _dripped(self, data: bytes) -> int:
        """How many bytes have gone one by one."""
        sent = 0
        while sent < len(data) and (drip := self.view.find(Drip)):
            self._check()
            self.writer.write(data[sent : sent + 1])
            sent += 1
            await self.view.changed(drip.interval_s)
        return sent

    async def _drain(self) -> None:
        try:
            await asyncio.wait_for(self.writer.drain(), _CLIENT_PATIENCE_S)
        except asyncio.TimeoutError:
            self.writer.transport.abort()
            raise ConnectionResetError("the client takes no more data") from None

    def _check(self) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError("the client has closed the connection")
