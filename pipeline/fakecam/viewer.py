"""One client's view of a camera: which pictures it gets, packed into RTP with sender reports (RFC 3550)."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from pipeline.fakecam.board import View
from pipeline.fakecam.damage import Damage
from pipeline.fakecam.faults import NoPackets, Silent, Stall, StopClock, Wrap
from pipeline.fakecam.transport import Transport
from pipeline.rtsp.h264 import CLOCK_HZ, AccessUnit
from pipeline.rtsp.rtcp import goodbye, sender_report
from pipeline.rtsp.rtp import Packetizer

_REPORT_INTERVAL_S = 5.0
_LATE_UNITS = 64  # a live client this far behind loses pictures up to the next IDR
_AHEAD_UNITS = 8  # with a client that gets everything, the camera waits beyond this
_GOODBYE_PAUSE_S = 0.25  # over UDP a goodbye on its own port would overtake the last picture
_NAME = "vidpipe-fakecam"

Sent = Callable[[int, int, int], None]
"""Called with a picture's index, its media time in ticks and its RTP timestamp."""


class Viewer:
    """A queue of pictures and the task that sends them.

    Args:
        transport: carries the packets.
        view: the faults that this client meets.
        sent: told of each picture.
        lossless: the camera waits for this client (its media is its own); otherwise a slow client loses pictures.
    """

    def __init__(self, transport: Transport, view: View, sent: Sent, *, lossless: bool) -> None:
        wrap = view.find(Wrap)
        self.first_sequence = secrets.randbits(16)
        self.first_timestamp = secrets.randbits(32) if wrap is None else -round(wrap.after_s * CLOCK_HZ) & 0xFFFFFFFF
        self.muted = False  # the client has asked for PAUSE
        self.wants_idr = True
        self._transport, self._view, self._sent, self._lossless = transport, view, sent, lossless
        self._damage = Damage(view)
        self._barred = view.find(NoPackets) is not None  # until that fault ends
        self._units: asyncio.Queue[AccessUnit | None] = asyncio.Queue(_AHEAD_UNITS if lossless else 0)
        self._packetizer = Packetizer(
            ssrc=secrets.randbits(32), first_sequence=self.first_sequence, first_timestamp=self.first_timestamp
        )
        self._index = 0
        self._clock = 0  # media time last sent
        self._report_due_s = 0.0

    async def show(self, unit: AccessUnit) -> None:
        """Take a picture to be sent; until an IDR picture comes, the others would be of no use and are left out."""
        late = not self._lossless and self._units.qsize() >= _LATE_UNITS
        if self.muted or late or self._stalled():
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
            if self._stalled():
                self.wants_idr = True
            else:
                await self._send(unit)
        await asyncio.sleep(_GOODBYE_PAUSE_S)
        while self._view.find(Silent):
            await self._view.changed()
        await self._transport.send_control(goodbye(ssrc=self._packetizer.ssrc, name=_NAME))

    def _stalled(self) -> bool:
        find = self._view.find
        self._barred = self._barred and find(NoPackets) is not None
        return self._barred or find(Stall) is not None or find(Silent) is not None

    async def _send(self, shown: AccessUnit) -> None:
        unit = self._timed(shown)
        if packets := self._damage.pack(unit, self._packetizer):
            await self._transport.send(packets)
        self._sent(self._index, shown.timestamp, self._packetizer.timestamp(unit))
        self._index += 1
        now = asyncio.get_running_loop().time()
        if now >= self._report_due_s:
            self._report_due_s = now + _REPORT_INTERVAL_S
            await self._transport.send_control(self._report(unit))

    def _timed(self, unit: AccessUnit) -> AccessUnit:
        """With its time by the camera's clock, which a fault may have moved or stopped."""
        if self._index == 0 or self._view.find(StopClock) is None:
            self._clock = unit.timestamp + self._view.jumped()
        return unit if self._clock == unit.timestamp else replace(unit, timestamp=self._clock)

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
