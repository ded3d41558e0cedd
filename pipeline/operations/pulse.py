"""Is the process alive, is it ready: answered by what the inference loop itself has told."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

SILENCE_S = 10.0


class Phase(str, Enum):
    """Where the process stands between start and end."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class Verdict(NamedTuple):
    """Yes or no, and why."""

    ok: bool
    text: str


class Pulse:
    """Written by the loop's thread, read by any. Says nothing of cameras: a dead one is no reason to restart us."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, silence_s: float = SILENCE_S) -> None:
        self.phase = Phase.STARTING
        self._clock = clock
        self._silence_s = silence_s
        self._beat_s = clock()
        self._trouble = ""

    def beat(self, trouble: str = "") -> None:
        """The loop went round; `trouble` says why that is no progress, where it is none."""
        self._beat_s, self._trouble = self._clock(), trouble

    def become(self, phase: Phase) -> None:
        """Go on to the next phase."""
        self._beat_s = self._clock()
        self.phase = phase

    def alive(self) -> Verdict:
        """No only where the loop was running and has stood still for too long; models may take long to load."""
        silent_s = self._clock() - self._beat_s
        if self.phase is Phase.READY and silent_s > self._silence_s:
            return Verdict(ok=False, text=f"the inference loop has stood still for {silent_s:.0f} s")
        if self._trouble:
            return Verdict(ok=False, text=self._trouble)
        return Verdict(ok=True, text=self.phase.value)

    def ready(self) -> Verdict:
        """Yes where models are loaded, the publisher is bound, and the loop goes round."""
        return self.alive() if self.phase is Phase.READY else Verdict(ok=False, text=self.phase.value)
