"""One client's view of a camera: which pictures it gets, packed into RTP with sender reports (RFC 3550)."""

from __future__ import annotations

import asyncio
import secrets
import time

from pipeline.fakecam.transport import Transport
from pipeline.rtsp.h264 import AccessUnit
from pipeline.rtsp.rtcp import goodbye, sender_report
from pipeline.rtsp.rtp import Packetizer

_REPORT_INTERVAL_S = 5.0
_LATE_UNITS = 64  # a live client this far behind loses pictures up to the next IDR
_AHEAD_UNITS = 8  # with a client that gets everything, the camera waits beyond this
_GOODBYE_PAUSE_S = 0.25  # over UDP a goodbye on its own port would overtake the last picture
_NAME = "vidpipe-fakecam"


class Viewer:
    """A queue of pictures and the task that sends them.

    Args:
        transport: carries the packets.
        lossless: the camera waits for this client (its media is its own); otherwise a slow client loses pictures.
    """

    def __init__(self, transport: Transport, *, lossless: bool) -> None:
        self.first_sequence, self.first_timestamp = secrets.randbits(16), secrets.randbits(32)
        self.muted = False  # the client has asked for PAUSE
        self.wants_idr = True
        self._transport, self._lossless = transport, lossless
        self._units: asyncio.Queue[AccessUnit | None] = asyncio.Queue(_AHEAD_UNITS if lossless else 0)
        self._packetizer = Packetizer(
            ssrc=secrets.randbits(32), first_sequence=self.first_sequence, first_timestamp=self.first_timestamp
        )
        self._report_due_s = 0.0

    async def show(self, unit: AccessUnit) -> None:
        """Take a picture to be sent; until an IDR picture comes, the others would be of no use and are left out."""
        late = not self._lossless and self._units.qsize() >= _LATE_UNITS
        if self.muted or late:
            self.wants_idr = True
        elif unit.idr or not self.wants_idr:
            self.wants_idr = False
            await self._units.put(unit)

    async def end(self) -> None:
        """No more pictures come: the client is told after the last."""
        await self._units.put(None)

    async def run(self) -> None:
        """Send until the end. Raises OSError where the client is gone."""
        while (unit := await self._units.get()) is not None:
            await self._send(unit)
        await asyncio.sleep(_GOODBYE_PAUSE_S)
        await self._transport.send_control(goodbye(ssrc=self._packetizer.ssrc, name=_NAME))

    async def _send(self, unit: AccessUnit) -> None:
        await self._transport.send(self._packetizer.pack(unit))
        now = asyncio.get_running_loop().time()
        if now >= self._report_due_s:
            self._report_due_s = now + _REPORT_INTERVAL_S
            await self._transport.send_control(self._report(unit))

    def _report(self, unit: AccessUnit) -> bytes:
        packetizer = self._packetizer
        return sender_report(
            ssrc=packetizer.ssrc,
            wall_ns=time.time_ns(),
            timestamp=packetizer.timestamp(unit),
            packets=packetizer.packets,
            octets=packetizer.octets,
            name=_NAME,
        )
