"""Who used how many cores and how much memory while the pipeline was under load."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import psutil


class Cores(msgspec.Struct, frozen=True):
    """Cores in use, by kind of process; `others` is the rest of the machine."""

    capture: float
    inference: float
    fake_cameras: float
    subscriber: float
    others: float
    idle: float

    @property
    def pipeline(self) -> float:
        """What vidpipe used."""
        return self.capture + self.inference

    @property
    def test(self) -> float:
        """What the fake cameras and the subscriber used."""
        return self.fake_cameras + self.subscriber


class Memory(msgspec.Struct, frozen=True):
    """Proportional set sizes in MiB: shared pages count by their share."""

    inference_mib: float
    per_capture_mib: float
    total_mib: float


@dataclass(frozen=True)
class CpuReading:
    """CPU seconds so far, by kind of process, and when that was."""

    at_s: float
    capture_s: float
    inference_s: float
    fake_cameras_s: float
    subscriber_s: float
    busy_s: float
    idle_s: float


class Meter:
    """Reads the processes of one trial: the pipeline's, the fake cameras', and our own, which is the subscriber."""

    def __init__(self, pipeline: psutil.Process, cameras: psutil.Process) -> None:
        self._pipeline, self._cameras, self._self = pipeline, cameras, psutil.Process()

    def read(self) -> CpuReading:
        """CPU seconds so far."""
        busy_s, idle_s = _machine_s()
        return CpuReading(
            at_s=time.monotonic(),
            capture_s=sum(map(_cpu_s, self._pipeline.children())),
            inference_s=_cpu_s(self._pipeline),
            fake_cameras_s=_cpu_s(self._cameras),
            subscriber_s=_cpu_s(self._self),
            busy_s=busy_s,
            idle_s=idle_s,
        )

    def memory(self) -> Memory:
        """Memory now."""
        captures = list(_pss_of_those_alive(self._pipeline.children()))
        inference = _pss_mib(self._pipeline)
        return Memory(inference, sum(captures) / max(len(captures), 1), inference + sum(captures))


def cores_between(first: CpuReading, last: CpuReading) -> Cores:
    """Cores in use between two readings."""
    seconds = last.at_s - first.at_s

    def cores(name: str) -> float:
        grown: float = getattr(last, name) - getattr(first, name)
        return max(0.0, grown / seconds)

    known = (cores("capture_s"), cores("inference_s"), cores("fake_cameras_s"), cores("subscriber_s"))
    return Cores(*known, others=max(0.0, cores("busy_s") - sum(known)), idle=cores("idle_s"))


def _cpu_s(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return 0.0


def _pss_of_those_alive(processes: Iterable[psutil.Process]) -> Iterator[float]:
    """A capture process may end at any moment."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            yield _pss_mib(process)


def _pss_mib(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / 2**20


def _machine_s() -> tuple[float, float]:
    """Busy and idle seconds of the processors that this process may use."""
    everyone = psutil.cpu_times(percpu=True)
    allowed = [everyone[index] for index in sorted(os.sched_getaffinity(0)) if index < len(everyone)]
    idle = sum(times.idle + times.iowait for times in allowed)
    # guest time is counted in user time already
    busy = sum(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice for times in allowed)
    return float(busy), float(idle)
