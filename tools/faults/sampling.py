"""What a running pipeline holds: memory, descriptors, threads, children; one row each time it is asked."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import psutil

_MIB = 2**20


class Sample(msgspec.Struct, frozen=True):
    """One look at the main process (`main_*`) and at all its capture processes together (`captures_*`).

    Of the main process's RSS, `main_own_mib` is its heap and stacks, where a leak would show, `main_shared_mib` lies in
    shared memory, and the rest is files, which come and go as the kernel likes. `memfds` counts the shared memories
    that it holds open, `busy_cores` is what the whole machine was doing since the sample before (0 in the first).
    """

    at_s: float
    main_rss_mib: float
    main_pss_mib: float
    main_uss_mib: float
    main_own_mib: float
    main_shared_mib: float
    main_fds: int
    main_threads: int
    memfds: int
    captures: int
    captures_rss_mib: float
    captures_pss_mib: float
    captures_uss_mib: float
    captures_fds: int
    captures_threads: int
    zombies: int
    busy_cores: float


class Sampler:
    """Looks at one pipeline; times count from its making."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._began_s = time.monotonic()
        self._busy: tuple[float, float] | None = None

    def look(self) -> Sample:
        """What it holds now."""
        now_s = time.monotonic()
        main, children = self._process, self._process.children(recursive=True)
        memory = main.memory_full_info()
        alive = [each for each in map(_capture, children) if each is not None]
        before, self._busy = self._busy, (now_s, _busy_s())
        return Sample(
            at_s=round(now_s - self._began_s, 3),
            main_rss_mib=memory.rss / _MIB,
            main_pss_mib=memory.pss / _MIB,
            main_uss_mib=memory.uss / _MIB,
            main_own_mib=_resident_mib(main.pid, "RssAnon"),
            main_shared_mib=_resident_mib(main.pid, "RssShmem"),
            main_fds=main.num_fds(),
            main_threads=main.num_threads(),
            memfds=_memfds(main.pid),
            captures=len(alive),
            captures_rss_mib=sum(each[0] for each in alive) / _MIB,
            captures_pss_mib=sum(each[1] for each in alive) / _MIB,
            captures_uss_mib=sum(each[2] for each in alive) / _MIB,
            captures_fds=int(sum(each[3] for each in alive)),
            captures_threads=int(sum(each[4] for each in alive)),
            zombies=sum(_is_zombie(child) for child in children),
            busy_cores=(self._busy[1] - before[1]) / (now_s - before[0]) if before else 0.0,
        )


def _capture(process: psutil.Process) -> tuple[float, float, float, float, float] | None:
    """RSS, PSS and USS in bytes, descriptors and threads; None for one that has just left."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        memory = process.memory_full_info()
        return memory.rss, memory.pss, memory.uss, process.num_fds(), process.num_threads()
    except psutil.Error:
        return None


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _resident_mib(pid: int, kind: str) -> float:
    """One kind of resident memory as /proc/PID/status gives it, proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


def _memfds(pid: int) -> int:
    number = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            number += "/memfd:" in str(link.readlink())
        except FileNotFoundError:
            continue
    return number


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
