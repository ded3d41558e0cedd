"""Complaints about what arrives: one line in a while, however fast bad messages come."""

from __future__ import annotations

import logging
import time

_log = logging.getLogger(__name__)
_EVERY_S = 60.0
_SHOWN_BYTES = 80


class Complaints:
    """Log lines with bounds: what comes from outside must not fill a disk."""

    def __init__(self) -> None:
        self._next_s: dict[str, float] = {}

    def once(self, what: str, found: bytes) -> None:
        """Say something about a message of unknown origin, once per process."""
        if what not in self._next_s:
            self._next_s[what] = float("inf")
            _log.warning("%s %r; they are left alone, and not told of again", what, found[:_SHOWN_BYTES])

    def now_and_then(self, about: str, count: int, reason: Exception) -> None:
        """Say what is wrong with `about`, at most once a minute; `count` is how often it was by now."""
        now_s = time.monotonic()
        if now_s >= self._next_s.get(about, 0.0):
            self._next_s[about] = now_s + _EVERY_S
            _log.warning("%s: a sample was dropped: %s (%d dropped so far)", about, reason, count)
