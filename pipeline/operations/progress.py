"""Do frames move: a loop that goes round while its frames wait for ever makes no progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.stream.messages import Status

STUCK_S = 30.0


@dataclass
class _Camera:
    processed: int
    moved_s: float


class Progress:
    """Follows what each heartbeat says of a camera's frames.

    A camera is stuck when frames of its own have waited for `limit_s` without one being processed. One that gives no
    frames has none that wait: it is never stuck.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, limit_s: float = STUCK_S) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._cameras: dict[str, _Camera] = {}

    def observe(self, status: Status) -> None:
        """Take a heartbeat."""
        counts = status.counts
        camera = self._cameras.setdefault(status.camera, _Camera(counts.processed, self._clock()))
        if not counts.in_flight or counts.processed != camera.processed:
            camera.processed, camera.moved_s = counts.processed, self._clock()

    def trouble(self) -> str:
        """One sentence, empty where frames move."""
        now_s = self._clock()
        stuck = [name for name, camera in self._cameras.items() if now_s - camera.moved_s > self._limit_s]
        return f"frames of {', '.join(stuck)} wait and are not processed" if stuck else ""

    def forget(self, camera: str) -> None:
        """The camera is no longer run."""
        self._cameras.pop(camera, None)
