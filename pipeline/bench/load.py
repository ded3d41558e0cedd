"""The pipeline under load: so many RTSP cameras for so many seconds, as a subscriber sees them."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
import psutil

from engines.errors import StreamError
from pipeline.bench.live import fake_cameras, live_run
from pipeline.bench.video import FPS
from pipeline.stream.messages import Counts, Message, Prediction, Status
from pipeline.stream.subscriber import Subscriber

_JOIN_LIMIT_S = 90.0
_SETTLE_S = 3.0
_P99_LIMIT_MS = 200.0
_FULL_RATE = 0.98


class Load(msgspec.Struct, frozen=True):
    """What so many cameras came to; latency is from `grab()` to `receive()`, memory as PSS, CPU in cores."""

    cameras: int
    rate_hz: float
    seconds: float
    p50_ms: float
    p99_ms: float
    grabbed_per_s: float
    due: int
    processed: int
    dropped: int
    cpu_cores: float
    memory_mib: float

    @property
    def held(self) -> bool:
        """All frames of all cameras in time: no drop, p99 under 200 ms, and the sources not held up either."""
        on_time = self.p99_ms < _P99_LIMIT_MS and not self.dropped
        return on_time and self.grabbed_per_s >= _FULL_RATE * FPS * self.cameras


class Trial(msgspec.Struct, frozen=True):
    """What to load the pipeline with: so many cameras that show `video`, sampled at `rate_hz`, for so long."""

    model: str
    backend: str
    cameras: int
    rate_hz: float
    seconds: float


def measure_load(video: Path, trial: Trial) -> Load:
    """Serve `video` as the trial's cameras, run the pipeline on them, and listen.

    Raises:
        StreamError: the cameras did not all come up in a minute and a half.
    """
    with (
        fake_cameras(video, "--cameras", trial.cameras) as urls,
        live_run(urls, model=trial.model, backend=trial.backend, rate_hz=trial.rate_hz) as run,
        Subscriber(run.address, kinds=["clip", "status"]) as subscriber,
    ):
        _wait_for_all(subscriber, trial.cameras)
        _listen(subscriber, _SETTLE_S)
        cpu_s, before = _cpu_s(run.process), _counts(_listen(subscriber, 1.2))
        started_s = time.monotonic()
        heard = _listen(subscriber, trial.seconds)
        took_s = time.monotonic() - started_s
        busy = (_cpu_s(run.process) - cpu_s) / (took_s + 1.2)
        return _sum_up(trial, heard, before, cost=(took_s, busy, _memory_mib(run.process)))


def _wait_for_all(subscriber: Subscriber, cameras: int) -> None:
    seen: set[str] = set()
    deadline_s = time.monotonic() + _JOIN_LIMIT_S
    while len(seen) < cameras:
        message = subscriber.receive(1.0)
        if isinstance(message, Prediction):
            seen.add(message.camera)
        if time.monotonic() > deadline_s:
            raise StreamError(f"only {len(seen)} of {cameras} cameras came up in {_JOIN_LIMIT_S:.0f} s")


def _listen(subscriber: Subscriber, seconds: float) -> list[tuple[int, Message]]:
    """All messages of so many seconds, with their times of arrival in nanoseconds."""
    heard = []
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        message = subscriber.receive(left_s)
        if message is not None:
            heard.append((time.time_ns(), message))
    return heard


def _counts(heard: list[tuple[int, Message]]) -> dict[str, Counts]:
    return {message.camera: message.counts for _, message in heard if isinstance(message, Status)}


def _sum_up(
    trial: Trial, heard: list[tuple[int, Message]], before: dict[str, Counts], cost: tuple[float, float, float]
) -> Load:
    after = _counts(heard)
    seconds, busy, memory_mib = cost
    delays_ms = [(arrived - m.captured_at) / 1e6 for arrived, m in heard if isinstance(m, Prediction)]
    p50, p99 = np.percentile(delays_ms, [50, 99]) if delays_ms else (float("inf"), float("inf"))

    def grown(name: str) -> int:
        return sum(getattr(after[c], name) - getattr(before[c], name) for c in after if c in before)

    dropped = grown("thinned") + grown("overrun")
    return Load(
        cameras=trial.cameras,
        rate_hz=trial.rate_hz,
        seconds=seconds,
        p50_ms=float(p50),
        p99_ms=float(p99),
        grabbed_per_s=grown("grabbed") / seconds,
        due=grown("due"),
        processed=grown("processed"),
        dropped=dropped,
        cpu_cores=busy,
        memory_mib=memory_mib,
    )


def _cpu_s(process: psutil.Process) -> float:
    return sum(sum(p.cpu_times()[:2]) for p in [process, *process.children(recursive=True)])


def _memory_mib(process: psutil.Process) -> float:
    everyone = [process, *process.children(recursive=True)]
    return float(sum(p.memory_full_info().pss for p in everyone)) / 2**20
