"""The supervisor of one camera: keeps a capture process running, for ever, and knows what state the camera is in."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from pipeline.capture.backoff import Backoff
from pipeline.capture.process import CaptureProcess
from pipeline.capture.protocol import Ended, Opened, Order, Resized, Running
from pipeline.capture.ring import RollingBuffer

if TYPE_CHECKING:
    from pipeline.capture.protocol import Notice
    from pipeline.config.source import Source

_HUNG_AFTER_S = 1.0
_START_S = 5.0  # a Python process on a busy machine


class CameraState(str, Enum):
    """Where a camera stands; it is running from its first frame on, not from the open."""

    CONNECTING = "connecting"
    WAITING_FIRST_FRAME = "waiting_first_frame"
    RUNNING = "running"
    BACKOFF = "backoff"
    AUTH_FAILED = "auth_failed"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


OVER = (CameraState.FINISHED, CameraState.FAILED, CameraState.STOPPED)


@dataclass(frozen=True)
class CapturePlan:
    """How one camera is read: from the configuration, and what its model wants to see."""

    name: str
    source: Source
    height: int
    width: int
    rate_hz: float
    crop: tuple[float, float, float, float] | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    capture: Literal["opencv", "pyav"] = "opencv"
    tls_verify: bool = True
    ca_file: str | None = None
    open_timeout_s: float = 5.0
    stall_s: float = 2.0
    slots: int = 16


def _is_patient(plan: CapturePlan) -> bool:
    return plan.source.kind.value == "rtsp" and plan.transport == "tcp"


class CameraSupervisor:
    """Starts, watches and restarts the capture process of one camera. Never blocks; `tick` is its clock.

    Each frame in the ring is told by `token` in the pipe `wake_fd`. `resume` is a media time and the monotonic time at
    which it held (ns): from there a live camera's media clock goes on.
    """

    def __init__(self, plan: CapturePlan, wake_fd: int, token: int = 0, resume: tuple[int, int] | None = None) -> None:
        self.plan = plan
        self._wake_fd = wake_fd
        self._token = token
        self._resume = resume
        self.ring = RollingBuffer.create(plan.slots, plan.height, plan.width)
        self.state = CameraState.CONNECTING
        self.detail = ""
        self.connections = 0
        self.reason = ""
        self.size: tuple[int, int] | None = None
        self.fps = 0.0
        self.process: CaptureProcess | None = None
        self._backoff = Backoff(random.Random())  # noqa: S311 - jitter is no secret
        self._running_since_s = 0.0
        self._retry_at_s = 0.0
        self._seen = (0, 0.0)
        self._waits = not plan.source.live
        self._opened_size: tuple[int, int] | None = None

    @property
    def over(self) -> bool:
        """True when no frame will ever come again."""
        return self.state in OVER

    def tick(self, now_s: float) -> None:
        """Do what is due at the monotonic time `now_s`: start, restart, or end a process that hangs."""
        if self.process is None:
            if not self.over and now_s >= self._retry_at_s:
                self._start(now_s)
        elif self._hangs(now_s):
            # no grace: the other cameras must not wait for a process that will not answer
            self._ended(Ended("lost", "the capture process hung and was ended"), now_s, grace_s=0.0)

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

    def halt(self, grace_s: float = 0.5) -> None:
        """End the process for good, after `grace_s` seconds by force."""
        if self.process is not None:
            self.process.end(grace_s)
            self.process = None
        if not self.over:
            self._become(CameraState.STOPPED, "")

    def next_tick_s(self) -> float:
        """When `tick` has something to do at the latest, as a monotonic time."""
        if self.process is None:
            return float("inf") if self.over else self._retry_at_s
        return time.monotonic() + 0.25

    def _start(self, now_s: float) -> None:
        plan = self.plan
        last = (self.ring.last_written() or self._resume) if plan.source.live else None
        order = Order(
            kind=plan.source.kind.value,
            address=plan.source.reveal(),
            ring_fd=-1,
            log_fd=-1,
            wake_fd=-1,
            token=self._token,
            slots=plan.slots,
            height=plan.height,
            width=plan.width,
            rate_hz=plan.rate_hz,
            open_timeout_ms=round(plan.open_timeout_s * 1e3),
            read_timeout_ms=round(plan.stall_s * 1e3),
            patient=_is_patient(plan),
            capture=plan.capture,
            transport=plan.transport,
            tls_verify=plan.tls_verify,
            ca_file=plan.ca_file,
            crop=plan.crop,
            resume_media_ns=last[0] if last else None,
            resume_monotonic_ns=last[1] if last else 0,
            last_size=self._opened_size,
        )
        self.connections += 1
        self._running_since_s = now_s
        self._seen = (self.ring.counts().grabbed, now_s)
        try:
            self.process = CaptureProcess(order, self.ring.fd, self._wake_fd)
        except OSError as error:
            self._ended(Ended("lost", f"the capture process could not be started: {error.strerror}"), now_s)
            return
        self._become(CameraState.CONNECTING, self.reason)

    def _heed(self, news: Notice, now_s: float) -> None:
        if isinstance(news, Running):
            self._running_since_s = now_s
            self._become(CameraState.RUNNING, "")
        elif isinstance(news, Opened):
            self.size, self.fps, self._waits = (news.width, news.height), news.fps, news.waits
            self._opened_size = self.size
            self._become(CameraState.WAITING_FIRST_FRAME, "")
        elif isinstance(news, Resized):
            # the coded size: not to be compared with the picture size of the next connection
            self.size, self._opened_size = (news.width, news.height), None
            self.detail = f"the picture changed to {news.width}x{news.height}"
        else:
            self._ended(news, now_s)

    def _ended(self, ended: Ended, now_s: float, grace_s: float = 0.5) -> None:
        if self.process is not None:
            self.process.end(grace_s)
            self.process = None
        self.reason = ended.detail
        if ended.reason in ("finished", "failed"):
            self._become(CameraState(ended.reason), ended.detail)
            return
        if self._waits:
            # from its start again, a file would be remembered twice
            self._become(CameraState.FAILED, ended.detail)
            return
        healthy_s = now_s - self._running_since_s if self.state is CameraState.RUNNING else 0.0
        refused = ended.reason == "refused"
        wait_s = self._backoff.after(healthy_s=healthy_s, refused=refused)
        self._retry_at_s = now_s + wait_s
        state = CameraState.AUTH_FAILED if refused else CameraState.BACKOFF
        self._become(state, f"{ended.detail}; trying again in {wait_s:.0f} s")

    def _hangs(self, now_s: float) -> bool:
        grabbed = self.ring.counts().grabbed
        if grabbed != self._seen[0] or self._blocked():
            self._seen = (grabbed, now_s)
        limit_s = self.plan.stall_s + _HUNG_AFTER_S
        if self.state is not CameraState.RUNNING:
            limit_s += self.plan.open_timeout_s * 2 + _START_S
        return now_s - self._seen[1] > limit_s

    def _blocked(self) -> bool:
        """A file that waits for its reader stands still on purpose."""
        return self._waits and self.ring.full

    def _become(self, state: CameraState, detail: str) -> None:
        self.state, self.detail = state, detail
