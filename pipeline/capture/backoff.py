"""Waiting before a reconnect: exponential with jitter, forgotten after a healthy while, slow after a refusal."""

from __future__ import annotations

import random

_FIRST_S = 1.0
_LONGEST_S = 30.0
_REFUSED_S = 60.0
_HEALTHY_S = 10.0
_JITTER = 0.25


class Backoff:
    """Gives 1, 2, 4 ... 30 s, each spread by a quarter, so that cameras behind one switch do not return in step."""

    def __init__(self, random_source: random.Random) -> None:
        self._random = random_source
        self._failures = 0

    def after(self, *, healthy_s: float, refused: bool = False) -> float:
        """Seconds to wait now that a connection ended which gave frames for `healthy_s` seconds."""
        if healthy_s >= _HEALTHY_S:
            self._failures = 0
        # cameras lock an account that fails too often
        wait_s = _REFUSED_S if refused else min(_LONGEST_S, _FIRST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        spread = self._random.uniform(0.0 if refused else -_JITTER, _JITTER)
        return wait_s * (1 + spread)
