"""A clock of the time that somebody looked: while the caller was busy or stopped, nobody was too slow for it."""

from __future__ import annotations

import time

_LONGEST_TURN_S = 0.5


class AttentiveClock:
    """Seconds since it was made, of which each pause between two looks counts half a second at most."""

    def __init__(self) -> None:
        self._clock_s = 0.0
        self._looked_s = time.monotonic()

    def now_s(self) -> float:
        """The time of this look."""
        now_s = time.monotonic()
        self._clock_s += min(now_s - self._looked_s, _LONGEST_TURN_S)
        self._looked_s = now_s
        return self._clock_s
