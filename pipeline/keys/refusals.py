"""Who was refused: counted always, told now and then, with the address and a few characters of the key."""

from __future__ import annotations

import logging
import threading
import time

_log = logging.getLogger(__name__)

_EVERY_S = 60.0
_SHOWN = 5


class Refusals:
    """A counter that also writes a line at the first refusal, and at most one a minute after that. For any thread."""

    def __init__(self) -> None:
        self.count = 0
        self._told = 0
        self._lock = threading.Lock()
        self._next_s = 0.0

    def add(self, address: str, key: str, why: str) -> None:
        """Count one; of the key only its first characters are shown."""
        with self._lock:
            self.count += 1
            now_s = time.monotonic()
            if now_s < self._next_s:
                return
            since, self._told, self._next_s = self.count - self._told, self.count, now_s + _EVERY_S
        _log.warning(
            "refused %d connection(s), the last from %s with the key %s...: %s", since, address, key[:_SHOWN], why
        )
