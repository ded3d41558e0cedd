"""From a grabbed frame to its slot in the ring: due or not, kept or left out, looked at, shrunk and told of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from engines.shrink import cropped, shrink
from pipeline.capture.bell import ring
from pipeline.capture.frame_header import NOTHING, FrameFlag, FrameHeader
from pipeline.capture.picture_watch import PictureWatch
from pipeline.capture.protocol import Running, Stillness, encode
from pipeline.capture.ring import RollingBuffer
from pipeline.capture.sampler import Sampler

if TYPE_CHECKING:
    from engines.media_clock import Tick
    from pipeline.capture.frames import FrameSource
    from pipeline.capture.link import Link
    from pipeline.capture.protocol import Order

_CREDIT_S = 0.1  # looks for itself as well, in case a credit came before it was known that this source waits


class Delivery:
    """Fills the ring of one connection. `flags` gathers what happened since the last frame that was laid into it.

    `live` is whether frames are left out where the reader is slow; else it is waited for.
    """

    def __init__(self, order: Order, link: Link, ring: RollingBuffer, *, live: bool) -> None:
        self.flags = FrameFlag.CONNECTED
        self.sampler = Sampler(order.rate_hz, thin=live)
        self._order, self._link, self._ring, self._live = order, link, ring, live
        self._watch = PictureWatch(order.frozen_after_s)
        self._frozen = self._told = False

    def take(self, source: FrameSource, tick: Tick, arrival_ns: int) -> None:
        """Hand over the grabbed frame, which came at a monotonic time, if the model is to see it."""
        if tick.jumped:
            self.flags |= FrameFlag.JUMPED
        if not self.sampler.due(tick.media_ns):
            return
        if not self._live:
            self._wait_for_slot()
        if not self._admit():
            return
        picture = source.retrieve()
        if self._holds(self._watch.look(picture, tick.media_ns)):
            return
        shrink(cropped(picture, self._order.crop), self._ring.slot())
        if self._ring.repeats():
            self.flags |= FrameFlag.REPEATS
        ready_ns = time.monotonic_ns()
        captured_ns = time.time_ns() - (ready_ns - arrival_ns)
        self._ring.commit(FrameHeader(0, tick.media_ns, captured_ns, arrival_ns, ready_ns, 0, self.flags))
        self.flags = NOTHING
        self._tell()

    def _admit(self) -> bool:
        lag_ns = self._ring.lag_ns(time.monotonic_ns())
        if self._ring.full:
            self._ring.count("overrun")
            return False
        if not self.sampler.keep(lag_ns, self._ring.room):
            self._ring.count("thinned")
            return False
        return True

    def _wait_for_slot(self) -> None:
        """A file waits for its reader, who says when half of the ring is free."""
        while self._ring.full:
            if self._link.poll(_CREDIT_S):
                self._link.recv_bytes()

    def _holds(self, seen: FrameFlag) -> bool:
        """Note what was seen in the picture; True where it is to be kept back because it is frozen."""
        frozen = FrameFlag.FROZEN in seen
        if frozen is not self._frozen:
            self._frozen = frozen
            self._link.send_bytes(encode(Stillness(frozen)))
        self.flags |= seen
        if frozen and self._order.hold_frozen:
            self.flags = self.flags & ~FrameFlag.FROZEN | FrameFlag.HELD
            return True
        return False

    def _tell(self) -> None:
        if not self._told:
            self._link.send_bytes(encode(Running()))
            self._told = True
        ring(self._order.rope_fd)
