"""A limit on how often the log says the same: a camera that fails every second must not fill a disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

_BURST = 10
_WINDOW_S = 60.0
_MOST_KEYS = 4096


@dataclass
class _Window:
    began_s: float
    count: int = 0
    hidden: int = 0


class RateLimit(logging.Filter):
    """Lets `burst` records of one logger, stream and reason through in `window_s`; the next tells how many were hidden.

    The reason is the record's `state`, else its `reason`, else its text before arguments are put in. Add it to a
    handler before whatever rewrites records.
    """

    def __init__(
        self, burst: int = _BURST, window_s: float = _WINDOW_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._burst = burst
        self._window_s = window_s
        self._clock = clock
        self._windows: dict[tuple[str, object, object], _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a record that is one too many."""
        window = self._window(record)
        window.count += 1
        if window.count > self._burst:
            window.hidden += 1
            return False
        if window.hidden:
            record.msg = f"{record.getMessage()} (and {window.hidden} more like this, not shown)"
            record.args = None
            window.hidden = 0
        return True

    def _window(self, record: logging.LogRecord) -> _Window:
        fields = record.__dict__
        reason = fields.get("state") or fields.get("reason") or record.msg
        key = (record.name, fields.get("stream"), str(reason))
        now_s = self._clock()
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= _MOST_KEYS:
                self._windows.clear()
            window = self._windows[key] = _Window(now_s)
        elif now_s - window.began_s >= self._window_s:
            window.began_s, window.count = now_s, 0
        return window
