"""The supervisor of one camera: keeps a capture process running, for ever, and knows what state the camera is in."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from pipeline.capture.backoff import Backoff, CrashLoop
from pipeline.capture.bell import Bell
from pipeline.capture.departure import Departure
from pipeline.capture.health import Health, detail_of
from pipeline.capture.plan import CapturePlan
from pipeline.capture.process import CaptureProcess
from pipeline.capture.protocol import FINAL, SLOW, Ended, EndReason, Opened, Resized, Running, Stillness
from pipeline.capture.ring import RollingBuffer
from pipeline.capture.state import FLOWING, OVER, CameraState

if TYPE_CHECKING:
    from pipeline.capture.protocol import Notice

__all__ = ["CameraState", "CameraSupervisor", "CapturePlan"]

_HUNG_AFTER_S = 0.5  # beyond the stall limit, at which the capture process gives up by itself
_START_S = 5.0  # a Python process on a busy machine
_TICK_S = 0.25
_AWAY_S = 1.0
_LATEST_NS = 1 << 60  # 36 years: no media clock comes there by itself
_CRASH = (EndReason.CRASHED, EndReason.HUNG)


class CameraSupervisor:
    """Starts, watches and restarts the capture process of one camera. Never blocks; `tick` is its clock.

    `bell` is rung for each frame in the ring. `resume` is a media time and the monotonic time at which it held (ns):
    from there a live camera's media clock goes on.
    """

    def __init__(self, plan: CapturePlan, resume: tuple[int, int] | None = None) -> None:
        self.plan = plan
        self._resume = resume
        self.ring = RollingBuffer.create(plan.slots, plan.height, plan.width)
        try:
            self.bell = Bell()
        except BaseException:
            self.ring.close()
            raise
        self.state = CameraState.CONNECTING
        self.detail = ""
        self.connections = 0
        self.reason = ""
        self.size: tuple[int, int] | None = None
        self.coded_size: tuple[int, int] | None = None  # what the next connection's picture size is compared with
        self.fps = 0.0
        self.process: CaptureProcess | None = None
        self.reconnects: Counter[str] = Counter()  # connections that ended and are made again, by `EndReason`
        self._leaving: Departure | None = None
        self._backoff = Backoff(random.Random())  # noqa: S311 - jitter is no secret
        self._crash_loop = CrashLoop()
        self._health = Health(plan.stall_s)
        self._running_since_s = 0.0
        self._retry_at_s = self._ticked_s = 0.0
        self._waits = not plan.source.live

    @property
    def over(self) -> bool:
        """True when no frame will ever come again."""
        return self.state in OVER

    @property
    def waits(self) -> bool:
        """True for a file, also behind a web address: it waits for its reader instead of leaving frames out."""
        return self._waits

    def tick(self, now_s: float) -> None:
        """Do what is due at the monotonic time `now_s`: start, restart, look, or end a process that hangs."""
        self._collect(now_s)
        self._catch_up(now_s)
        if self.process is not None:
            self._look(now_s)
        elif not self.over and self._leaving is None and now_s >= self._retry_at_s:
            self._start(now_s)

    def listen(self, now_s: float) -> None:
        """Take the process's news."""
        if self.process is None:
            return
        for news in self.process.news():
            self._heed(news, now_s)
            if self.process is None:
                return

    def free_slot(self) -> None:
        """A frame was taken: a file that waits goes on reading once half of the ring is free."""
        if self._waits and self.process is not None and self.ring.backlog == self.plan.slots // 2:
            self.process.credit()

    def ask_to_leave(self) -> None:
        """First half of a stop, without waiting."""
        if self.process is not None:
            self.process.ask_to_leave()

    def dismiss(self, now_s: float) -> None:
        """The camera is not wanted any more: its process is asked to leave, and `is_gone` sees to it that it does."""
        self._let_go(now_s, by_force=False)

    def is_gone(self, now_s: float) -> bool:
        """Whether no process of a camera that was dismissed is left; one that stays is ended by force."""
        self._collect(now_s)
        return self._leaving is None

    def halt(self, grace_s: float = 0.5) -> None:
        """End the process for good, after `grace_s` seconds by force."""
        for each in (self.process, self._leaving):
            if each is not None:
                each.end(grace_s)
        self.process = self._leaving = None
        if not self.over:
            self._become(CameraState.STOPPED, "")

    def retry_in_s(self, now_s: float) -> float:
        """Seconds until the connection is made again; below 0 where there is one, or none will be."""
        if self.process is not None or self.over or not self._retry_at_s:
            return -1.0
        return max(0.0, self._retry_at_s - now_s)

    def close(self) -> None:
        """Give back what frames lay in and were told by, once no process is left."""
        self.ring.close()
        self.bell.close()

    def next_tick_s(self) -> float:
        """When `tick` has something to do at the latest, as a monotonic time."""
        soon_s = time.monotonic() + _TICK_S
        if self.process is not None:
            return min(soon_s, self._health.heard_s + self._limit_s())
        if self._leaving is not None:
            return min(soon_s, self._leaving.due_s)
        return float("inf") if self.over else self._retry_at_s

    def _start(self, now_s: float) -> None:
        plan = self.plan
        if not self.ring.is_sound():
            self.ring.empty()
        order = plan.order(self._last_time() if plan.source.live else None, self.coded_size)
        self.connections += 1
        self._health.begin(now_s, self.ring.counts())
        try:
            self.process = CaptureProcess(order, self.ring.fd, self.bell.rope_fd)
        except OSError as error:
            self._ended(Ended(EndReason.CRASHED, f"the capture process could not be started: {error.strerror}"), now_s)
            return
        self._become(CameraState.CONNECTING, self.reason)

    def _last_time(self) -> tuple[int, int] | None:
        """Media time and monotonic time from which the media clock goes on; None where there is none to believe."""
        last = self.ring.last_written() or self._resume
        return last if last is not None and 0 <= last[0] < _LATEST_NS and 0 < last[1] <= time.monotonic_ns() else None

    def _heed(self, news: Notice, now_s: float) -> None:
        if isinstance(news, Running):
            self._running_since_s = now_s
            self._become(CameraState.RUNNING, "")
        elif isinstance(news, Opened):
            self.size = self.coded_size = (news.width, news.height)
            self.fps, self._waits = news.fps, news.waits
            self._become(CameraState.WAITING_FIRST_FRAME, "")
        elif isinstance(news, Resized):
            self.size = self.coded_size = (news.width, news.height)
        elif isinstance(news, Stillness):
            self._health.frozen = news.frozen
            self._look(now_s)
        else:
            self._ended(news, now_s)

    def _look(self, now_s: float) -> None:
        """Judge how the connection is doing, and end it where its process gives no sign of life."""
        if not self.ring.is_sound():
            self._ended(Ended(EndReason.CRASHED, "the capture process wrote what makes no sense"), now_s)
            return
        state = self._health.look(now_s, self.ring.counts(), full=self.ring.full, waits=self._waits)
        if now_s - self._health.heard_s >= self._limit_s():
            self._ended(Ended(EndReason.HUNG, "the capture process hung and was ended"), now_s)
        elif self.state in FLOWING and state is not self.state:
            self._become(state, detail_of(state))

    def _catch_up(self, now_s: float) -> None:
        """After a time in which nobody read, the camera's present counts and not what lay in the ring.

        A reader that is slow is another matter: for that one frames are thinned evenly, by the capture process.
        """
        unread_s, away_s = now_s - min(self._ticked_s, self._health.taken_s), now_s - self._ticked_s
        self._ticked_s = now_s
        if unread_s >= self.plan.stall_s and self.plan.source.live and not self._waits and self.ring.is_sound():
            self.ring.expire(round((now_s - self.plan.stall_s) * 1e9))
        if away_s >= _AWAY_S:
            # this process was away, as while it opens models: what was said meanwhile is older than what is judged now
            self.listen(now_s)
            self._health.excuse(now_s)

    def _limit_s(self) -> float:
        """How long a process may give no frame before it counts as hung."""
        limit_s = self.plan.stall_s + _HUNG_AFTER_S
        return limit_s if self.state in FLOWING else limit_s + 2 * self.plan.open_timeout_s + _START_S

    def _ended(self, ended: Ended, now_s: float) -> None:
        self._let_go(now_s, by_force=ended.reason in _CRASH)
        self.reason = ended.detail
        if ended.reason in FINAL:
            self._become(CameraState(ended.reason.value), ended.detail)
            return
        if self._waits:
            # from its start again, a file would be remembered twice
            self._become(CameraState.FAILED, ended.detail)
            return
        self.reconnects[ended.reason.value] += 1
        wait_s = self._wait_s(ended.reason, now_s)
        self._retry_at_s = now_s + wait_s
        state = CameraState(ended.reason.value) if ended.reason in SLOW else CameraState.BACKOFF
        self._become(state, ended.detail)

    def _wait_s(self, reason: EndReason, now_s: float) -> float:
        healthy_s = self._health.heard_s - self._running_since_s if self.state in FLOWING else 0.0
        looping = reason in _CRASH and self._crash_loop.add(now_s)
        return self._backoff.after(healthy_s=healthy_s, slow=looping or reason in SLOW)

    def _let_go(self, now_s: float, *, by_force: bool) -> None:
        """Part with the process without waiting for it; no other one writes into the ring before it is gone."""
        if self.process is None:
            return
        self._leaving, self.process = Departure(self.process, now_s, by_force=by_force), None
        self._collect(now_s)

    def _collect(self, now_s: float) -> None:
        if self._leaving is not None and self._leaving.is_over(now_s):
            self._leaving = None

    def _become(self, state: CameraState, detail: str) -> None:
        self.state, self.detail = state, detail
