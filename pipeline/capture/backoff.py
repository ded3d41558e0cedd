"""Waiting before a reconnect: exponential with jitter, forgotten after a healthy while, slow where haste does harm."""

from __future__ import annotations

import random
from collections import deque

_FIRST_S = 1.0
_LONGEST_S = 30.0
_SLOW_S = 60.0
_HEALTHY_S = 10.0
_JITTER = 0.25
_CRASHES = 5
_WITHIN_S = 60.0


class Backoff:
    """Gives 1, 2, 4 ... 30 s, each up to a quarter less, so that cameras behind one switch do not return in step."""

    def __init__(self, random_source: random.Random) -> None:
        self._random = random_source
        self._failures = 0

    def after(self, *, healthy_s: float, slow: bool = False) -> float:
        """Seconds to wait now that a connection ended which gave frames for `healthy_s` seconds; 60 to 75 if `slow`."""
        if healthy_s >= _HEALTHY_S:
            self._failures = 0
        wait_s = _SLOW_S if slow else min(_LONGEST_S, _FIRST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        spread = self._random.uniform(0.0, _JITTER)
        return wait_s * (1 + spread if slow else 1 - spread)


class CrashLoop:
    """Knows a process that dies again and again: five times within a minute."""

    def __init__(self) -> None:
        self._crashes: deque[float] = deque(maxlen=_CRASHES)

    def add(self, now_s: float) -> bool:
        """Note a crash at a monotonic time; True where it makes a loop."""
        self._crashes.append(now_s)
        return len(self._crashes) == _CRASHES and now_s - self._crashes[0] <= _WITHIN_S
