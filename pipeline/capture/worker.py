"""A capture process: one connection to one camera, from opening it to its end; `pipeline.capture.process` starts it."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from engines.errors import AuthenticationError, SilentSourceError, SourceError, UnsupportedSourceError
from engines.media_clock import MediaClock, Tick
from engines.shrink import cropped, shrink
from pipeline.capture.bell import ring
from pipeline.capture.confinement import confine
from pipeline.capture.decoder_log import NO_NEWS, write_through
from pipeline.capture.frames import FrameSource, open_source
from pipeline.capture.link import Link
from pipeline.capture.picture_watch import PictureWatch
from pipeline.capture.protocol import (
    Ended,
    EndReason,
    Opened,
    Resized,
    Running,
    Stillness,
    decode_order,
    encode,
)
from pipeline.capture.rest import Rest
from pipeline.capture.ring import FrameFlag, FrameHeader, RollingBuffer
from pipeline.capture.sampler import Sampler

if TYPE_CHECKING:
    from types import TracebackType

    from pipeline.capture.protocol import Notice, Order

_PR_SET_PDEATHSIG = 1
# a damaged packet gives a False while the stream lives on; this long without a frame, it does not
_PATIENCE_NS = 1_000_000_000
# behind the end of a stream, False comes at once and again and again, and the decoder has nothing to complain about
_AT_ONCE_NS = 5_000_000
_GONE_NS = 250_000_000
# a camera that never sends a whole picture, but refreshes it strip by strip, has mended damage by then
_MENDED_NS = 10_000_000_000
_MISSING_FRAMES = 0.98
_READ_AHEAD = 8  # frames that FFmpeg has read before an RTSP stream is open: seven tell it that H.264 is in order
_CREDIT_S = 0.1  # looks for itself as well, in case a credit came before it was known that this source waits
_CONNECTED, _NOTHING = FrameFlag.CONNECTED, FrameFlag(0)
# these containers hold an index of their frames; for others OpenCV only guesses from duration and rate
_COUNTED = (".mp4", ".mov", ".m4v")


def main(socket_fd: int) -> None:
    """Run until the source ends, the parent says stop (SIGTERM) or dies."""
    _die_with_parent()
    confine()
    write_through()
    sys.excepthook = _fail
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    link = Link.inherited(socket_fd)
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):
        order = decode_order(link.recv_bytes())
        # what is loaded stays: no collection has to look at it again
        gc.freeze()
        ended = Capture(order, link).run()
        link.send_bytes(encode(ended))
    # the interpreter's own shutdown could wait for a decoder thread that hangs
    os._exit(0)


def _leave(_signal: int, _frame: object) -> NoReturn:
    sys.exit(0)


def _fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> NoReturn:
    """What nobody foresaw: say it and be gone at once, since the parent hears both when the connection closes."""
    sys.__excepthook__(kind, error, trace)
    sys.stderr.flush()
    os._exit(1)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Capture:
    """Grabs, samples, resizes and hands over the frames of one connection."""

    def __init__(self, order: Order, link: Link) -> None:
        self._order = order
        self._link = link
        self._live = order.kind != "file"  # known better once it is open
        self._ring = RollingBuffer(order.ring_fd, order.slots, order.height, order.width)
        self._flags = _CONNECTED
        self._told = False
        self._watch = PictureWatch(order.frozen_after_s)
        self._frozen = False
        self._damaged_ns: int | None = None  # when the decoder complained, until a picture that needs no other one
        self._grabbed = self._complaints = 0
        self._size: tuple[int, int] | None = None
        self._good_ns = self._idle_ns = 0

    def run(self) -> Ended:
        """Open the source and read it to its end; the reason of the end, never an exception for a bad source."""
        began_ns = time.monotonic_ns()
        try:
            source = open_source(self._order)
        except SourceError as error:
            return self._not_opened(error)
        try:
            return self._stream(source, began_ns)
        except SourceError as error:
            return self._broken_off(error)
        finally:
            source.release()

    def _stream(self, source: FrameSource, began_ns: int) -> Ended:
        # a video of known length behind a web address is a file too
        self._live = self._order.kind != "file" and not (self._order.kind == "http" and source.frame_count > 0)
        self._tell(Opened(source.width, source.height, source.fps, waits=not self._live))
        self._size = source.news().size
        if self._order.last_size not in (None, (source.width, source.height), self._size):
            self._flags |= FrameFlag.RESIZED
        clock, sampler = self._clock(source, began_ns), Sampler(self._order.rate_hz, thin=self._live)
        rest = Rest() if self._live and self._order.patient else None
        arrival_ns, stall_ns = time.monotonic_ns(), self._stall_ns()
        self._good_ns = self._idle_ns = arrival_ns
        while True:
            last_ns, before_ns = arrival_ns, time.monotonic_ns()
            ok = source.grab()
            arrival_ns = time.monotonic_ns()
            if arrival_ns - last_ns >= stall_ns:
                # what comes now is old: OpenCV hands out earlier frames after a stall and is dead from then on, and
                # a process that was stopped itself finds the frames of that time in its socket
                reason = EndReason.STALL if self._grabbed else EndReason.NO_PICTURE
                return Ended(reason, f"no frame for {self._order.read_timeout_ms / 1e3:.1f} s")
            complained = self._heed_decoder(source, arrival_ns)
            if ok or complained or arrival_ns - before_ns > _AT_ONCE_NS:
                self._idle_ns = arrival_ns
            if ok:
                self._good_ns = arrival_ns
                self._forget_damage(source, arrival_ns)
                tick = clock.tick(source.position_ms(), arrival_ns)
                self._take(source, tick, sampler, arrival_ns)
                if rest is not None and clock.timed:
                    rest_s = rest.after(tick.media_ns, arrival_ns, arrival_ns - before_ns, sampler.next_due_ns())
                    _sleep(rest_s, arrival_ns)
            elif not self._live:
                return self._end_of_file(source)
            elif arrival_ns - self._good_ns > _PATIENCE_NS or arrival_ns - self._idle_ns > _GONE_NS:
                return self._lost()
            else:
                time.sleep(0.01)

    def _stall_ns(self) -> float:
        watched = self._live and self._order.kind != "scene"
        return 0.9e6 * self._order.read_timeout_ms if watched else float("inf")

    def _clock(self, source: FrameSource, began_ns: int) -> MediaClock:
        """The camera's clock, which goes on where it stood, by the time at which the first frame came."""
        order = self._order
        start_ns, first_ns = None, time.monotonic_ns()
        period_ns = round(1e9 / source.fps) if 1 <= source.fps <= 240 else None
        if order.kind == "rtsp" and period_ns is not None:
            first_ns = max(began_ns, first_ns - _READ_AHEAD * period_ns)
        if order.resume_media_ns is not None:
            start_ns = order.resume_media_ns + max(0, first_ns - order.resume_monotonic_ns)
        return MediaClock(live=self._live, start_ns=start_ns, period_ns=period_ns)

    def _heed_decoder(self, source: FrameSource, now_ns: int) -> bool:
        """Take the decoder's news; whether it complained."""
        news = source.news()
        if news is NO_NEWS:
            return False
        if news.errors:
            self._ring.count("damaged", news.errors)
            self._complaints += news.errors
            self._damaged_ns = now_ns
        if news.size and self._size and news.size != self._size:
            self._flags |= FrameFlag.RESIZED
            self._tell(Resized(*news.size))
        self._size = news.size or self._size
        return bool(news.errors)

    def _forget_damage(self, source: FrameSource, now_ns: int) -> None:
        """Damage is handed on from picture to picture, up to one that builds on no other; mark all of them."""
        if self._damaged_ns is None:
            return
        if self._damaged_ns != now_ns and (source.is_intra() or now_ns - self._damaged_ns > _MENDED_NS):
            self._damaged_ns = None
        else:
            self._flags |= FrameFlag.DAMAGED

    def _take(self, source: FrameSource, tick: Tick, sampler: Sampler, arrival_ns: int) -> None:
        self._grabbed += 1
        self._ring.count("grabbed")
        if tick.jumped:
            self._flags |= FrameFlag.JUMPED
        if not sampler.due(tick.media_ns):
            return
        if not self._live:
            self._wait_for_slot()
        if not self._admit(sampler):
            return
        picture = source.retrieve()
        if self._holds(self._watch.look(picture, tick.media_ns)):
            return
        shrink(cropped(picture, self._order.crop), self._ring.slot())
        if self._ring.repeats():
            self._flags |= FrameFlag.REPEATS
        ready_ns = time.monotonic_ns()
        captured_ns = time.time_ns() - (ready_ns - arrival_ns)
        self._ring.commit(FrameHeader(0, tick.media_ns, captured_ns, arrival_ns, ready_ns, 0, self._flags))
        self._flags = _NOTHING
        self._wake()

    def _holds(self, seen: FrameFlag) -> bool:
        """Note what was seen in the picture; True where it is to be kept back because it is frozen."""
        frozen = FrameFlag.FROZEN in seen
        if frozen is not self._frozen:
            self._frozen = frozen
            self._tell(Stillness(frozen))
        self._flags |= seen
        if frozen and self._order.hold_frozen:
            self._flags = self._flags & ~FrameFlag.FROZEN | FrameFlag.HELD
            return True
        return False

    def _wake(self) -> None:
        if not self._told:
            self._tell(Running())
            self._told = True
        ring(self._order.rope_fd)

    def _admit(self, sampler: Sampler) -> bool:
        lag_ns = self._ring.lag_ns(time.monotonic_ns())
        if self._ring.full:
            self._ring.count("overrun")
            return False
        if not sampler.keep(lag_ns, self._ring.room):
            self._ring.count("thinned")
            return False
        return True

    def _wait_for_slot(self) -> None:
        """A file waits for its reader, who says when half of the ring is free."""
        while self._ring.full:
            if self._link.poll(_CREDIT_S):
                self._link.recv_bytes()

    def _lost(self) -> Ended:
        if not self._grabbed:
            return self._explain("it opened but sent no picture", EndReason.NO_PICTURE)
        if self._damaged_ns is not None and self._idle_ns > self._good_ns:
            return Ended(EndReason.DAMAGED, "what the camera sends has given no picture for a while")
        return Ended(EndReason.EOF, "the stream ended")

    def _end_of_file(self, source: FrameSource) -> Ended:
        if not self._grabbed:
            return self._explain("it holds no picture that can be decoded")
        counted = self._order.address.lower().endswith(_COUNTED)
        if counted and self._grabbed < _MISSING_FRAMES * source.frame_count:
            found = f"{self._grabbed} of {source.frame_count} frames could be read"
            return Ended(EndReason.FAILED, f"the file is cut off or damaged: {found}")
        damage = f", with {self._complaints} complaints of the decoder" if self._complaints else ""
        return Ended(EndReason.FINISHED, f"all {self._grabbed} frames were read{damage}")

    def _not_opened(self, error: SourceError) -> Ended:
        from pipeline.capture.diagnosis import reason_of  # noqa: PLC0415 - wanted after a failure only

        if type(error) is SourceError or not self._live:
            return self._explain(str(error))
        return Ended(reason_of(error), str(error))  # known for sure; asking again could lock the account

    def _broken_off(self, error: SourceError) -> Ended:
        from pipeline.capture.diagnosis import reason_of  # noqa: PLC0415 - wanted after a failure only

        if not self._live:
            return Ended(EndReason.FAILED, str(error))
        stalled = isinstance(error, SilentSourceError)
        if isinstance(error, AuthenticationError | UnsupportedSourceError):
            return Ended(reason_of(error), str(error))
        if self._grabbed:
            return Ended(EndReason.STALL if stalled else EndReason.EOF, str(error))
        return Ended(EndReason.NO_PICTURE, str(error)) if stalled else self._explain(str(error), EndReason.NO_PICTURE)

    def _explain(self, detail: str, otherwise: EndReason = EndReason.ERROR) -> Ended:
        """Ask the source itself why it gave nothing; OpenCV only says no."""
        from pipeline.capture.diagnosis import diagnose  # noqa: PLC0415 - wanted after a failure only

        return diagnose(self._order, detail, otherwise)

    def _tell(self, notice: Notice) -> None:
        self._link.send_bytes(encode(notice))


def _sleep(seconds: float, since_ns: int) -> None:
    """Sleep until so long after a monotonic time."""
    left_s = seconds - (time.monotonic_ns() - since_ns) / 1e9
    if left_s > 0:
        time.sleep(left_s)
