"""Clocks that outlive a process: how long ago something was, told after a restart and whatever the wall clock did."""

from __future__ import annotations

import ctypes
import sys
import time
from functools import cache
from pathlib import Path

import msgspec

from engines.errors import ModelError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_ERROR = 5  # adjtimex(2): the system clock is not synchronised
_AGREE_S = 1.0


class OutdatedError(ModelError):
    """What was saved is too old to be used, or nobody can say how old it is."""


class Clocks(msgspec.Struct, frozen=True, gc=False):
    """One reading of all clocks, in nanoseconds.

    `boot_ns` counts since the machine started, its sleep included (CLOCK_BOOTTIME); `boot_id` names that start and is
    empty where the system gives none. `wall_ns` is UTC; `synchronised` tells whether the kernel vouches for it (NTP).
    """

    boot_id: str
    boot_ns: int
    monotonic_ns: int
    wall_ns: int
    synchronised: bool


def read_clocks() -> Clocks:
    """The clocks now."""
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns()
    return Clocks(_boot_id(), boot_ns, time.monotonic_ns(), time.time_ns(), _synchronised())


def elapsed_s(before: Clocks, now: Clocks) -> float:
    """Seconds between two readings on one machine, perhaps of two processes.

    Within one boot the boot clock tells. Across a boot only the wall clock can, and it is believed only where the
    kernel vouched for it both times and where it says at least as long as the machine has been up: a machine without a
    battery clock comes up in its past. Without boot ids, the two clocks must agree.

    Raises:
        OutdatedError: the clocks do not tell.
    """
    by_boot_s, by_wall_s = (now.boot_ns - before.boot_ns) / 1e9, (now.wall_ns - before.wall_ns) / 1e9
    if before.boot_id and before.boot_id == now.boot_id:
        if by_boot_s < 0:
            raise OutdatedError("it is from the future")
        return by_boot_s
    if before.boot_id and now.boot_id:
        believed = before.synchronised and now.synchronised and by_wall_s >= now.boot_ns / 1e9
    else:
        believed = by_boot_s >= 0 and abs(by_boot_s - by_wall_s) <= _AGREE_S
    if not believed:
        raise OutdatedError("it was saved before the machine started, and no clock tells how long ago")
    return by_wall_s


@cache
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _synchronised() -> bool:
    if sys.platform != "linux":
        return False
    asked = ctypes.create_string_buffer(1024)  # struct timex with modes = 0: nothing is set
    return bool(0 <= _libc().adjtimex(asked) != _TIME_ERROR)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
