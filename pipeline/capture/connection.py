"""One connection to one camera, from opening it to its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from engines.errors import SourceError
from engines.media_clock import MediaClock
from pipeline.capture.damage import Damage
from pipeline.capture.decoder_log import NO_NEWS
from pipeline.capture.delivery import Delivery
from pipeline.capture.endings import Endings
from pipeline.capture.frame_header import FrameFlag
from pipeline.capture.frames import FrameSource, open_source
from pipeline.capture.protocol import Opened, Resized, encode
from pipeline.capture.rest import Rest
from pipeline.capture.ring import RollingBuffer

if TYPE_CHECKING:
    from pipeline.capture.link import Link
    from pipeline.capture.protocol import Ended, Order

# a damaged packet gives a False while the stream lives on; this long without a frame, it does not
_PATIENCE_NS = 1_000_000_000
# behind the end of a stream, False comes at once and again and again, and the decoder has nothing to complain about
_AT_ONCE_NS = 5_000_000
_GONE_NS = 250_000_000
_USUAL_PERIOD_NS = 40_000_000  # of a camera that does not say its own


class Connection:
    """Grabs the frames of one source and has them delivered."""

    def __init__(self, order: Order, link: Link) -> None:
        self._order, self._link = order, link
        self._ring = RollingBuffer(order.ring_fd, order.slots, order.height, order.width)
        self._damage = Damage()
        self._grabbed = 0
        self._size: tuple[int, int] | None = None

    def run(self) -> Ended:
        """Open the source and read it to its end; the reason of the end, never an exception for a bad source."""
        began_ns = time.monotonic_ns()
        live = self._order.kind != "file"
        try:
            source = open_source(self._order)
        except SourceError as error:
            return Endings(self._order, live).not_opened(error)
        # a video of known length behind a web address is a file too
        live = live and not (self._order.kind == "http" and source.frame_count > 0)
        endings = Endings(self._order, live)
        try:
            return self._stream(source, media_clock(self._order, source, began_ns, live=live), endings)
        except SourceError as error:
            return endings.broken_off(error, self._grabbed)
        finally:
            source.release()

    def _stream(self, source: FrameSource, clock: MediaClock, endings: Endings) -> Ended:
        order, live = self._order, endings.live
        delivery = Delivery(order, self._link, self._ring, live=live)
        self._link.send_bytes(encode(Opened(source.width, source.height, source.fps, waits=not live)))
        self._size = source.news().size
        if order.last_size not in (None, (source.width, source.height), self._size):
            delivery.flags |= FrameFlag.RESIZED
        rest = Rest() if live and order.patient else None
        stall_ns = 0.9e6 * order.read_timeout_ms if live and order.kind != "scene" else float("inf")
        arrival_ns = good_ns = idle_ns = time.monotonic_ns()
        while True:
            last_ns, before_ns = arrival_ns, time.monotonic_ns()
            ok = source.grab()
            arrival_ns = time.monotonic_ns()
            if arrival_ns - last_ns >= stall_ns:
                # what comes now is old: OpenCV hands out earlier frames after a stall and is dead from then on, and
                # a process that was stopped itself finds the frames of that time in its socket
                return endings.stalled(self._grabbed)
            complained = self._heed_decoder(source, delivery, arrival_ns)
            if ok or complained or arrival_ns - before_ns > _AT_ONCE_NS:
                idle_ns = arrival_ns
            if ok:
                good_ns = arrival_ns
                self._grabbed += 1
                self._ring.count("grabbed")
                if self._damage.lasts:
                    delivery.flags |= self._damage.mark(source, arrival_ns)
                tick = clock.tick(source.position_ms(), arrival_ns)
                delivery.take(source, tick, arrival_ns)
                if rest is not None and clock.timed:
                    next_ns = delivery.sampler.next_due_ns()
                    _sleep(rest.after(tick.media_ns, arrival_ns, arrival_ns - before_ns, next_ns), arrival_ns)
            elif not live:
                return endings.end_of_file(self._grabbed, source.frame_count, self._damage.complaints)
            elif arrival_ns - good_ns > _PATIENCE_NS or arrival_ns - idle_ns > _GONE_NS:
                return endings.lost(self._grabbed, damaged=self._damage.lasts and idle_ns > good_ns)
            else:
                time.sleep(0.01)

    def _heed_decoder(self, source: FrameSource, delivery: Delivery, now_ns: int) -> bool:
        """Take the decoder's news; whether it complained."""
        news = source.news()
        if news is NO_NEWS:
            return False
        if news.errors:
            self._ring.count("damaged", news.errors)
            self._damage.complain(news.errors, now_ns)
        if news.size and self._size and news.size != self._size:
            delivery.flags |= FrameFlag.RESIZED
            self._link.send_bytes(encode(Resized(*news.size)))
        self._size = news.size or self._size
        return bool(news.errors)


def media_clock(order: Order, source: FrameSource, began_ns: int, *, live: bool) -> MediaClock:
    """The camera's clock, which goes on where it stood, by the time at which the first frame came.

    Args:
        order: says where it stood.
        source: open now; its `fps` may be anything where it does not know.
        began_ns: monotonic time at which it began to be opened.
        live: whether the source is a camera.
    """
    start_ns = None
    period_ns = round(1e9 / source.fps) if 1 <= source.fps <= 240 else None
    first_ns = max(began_ns, time.monotonic_ns() - source.read_ahead * (period_ns or _USUAL_PERIOD_NS))
    if order.resume_media_ns is not None:
        start_ns = order.resume_media_ns + max(0, first_ns - order.resume_monotonic_ns)
    return MediaClock(live=live, start_ns=start_ns, period_ns=period_ns)


def _sleep(seconds: float, since_ns: int) -> None:
    """Sleep until so long after a monotonic time."""
    left_s = seconds - (time.monotonic_ns() - since_ns) / 1e9
    if left_s > 0:
        time.sleep(left_s)
