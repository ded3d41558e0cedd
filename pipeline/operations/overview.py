"""What a subscriber can say of a running pipeline: figures per camera, gathered from its messages."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from pipeline.operations.detail import detail_of
from pipeline.stream.messages import Counts, Message, Prediction, Status

_RATE_WINDOW_S = 10.0
_LATENCY_WINDOW_S = 120.0
_MOST_LATENCIES = 1000
_SETTLED_S = 2.2
_UNHEARD_AFTER_S = 3.5
UNHEARD = "unheard"


class CameraFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How one camera stands. None where it is not known yet.

    `rate_hz` are frames processed a second over the last 10 s, latencies those of the clips of the last 2 minutes, from
    grab to prediction; counts are since the publisher began.
    """

    camera: str
    state: str
    detail: str = ""
    rate_hz: float | None = None
    frame_age_s: float | None = None
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    processed: int = 0
    dropped: int = 0
    damaged: int = 0
    resets: dict[str, int] = {}
    reconnects: dict[str, int] = {}
    unheard_s: float = 0.0
    label: str = ""
    score: float | None = None


@dataclass
class _Camera:
    status: Status | None = None
    heard_s: float = 0.0
    processed: deque[tuple[float, int]] = field(default_factory=deque)
    latencies_ms: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_MOST_LATENCIES))
    last: Prediction | None = None


class Overview:
    """Takes messages as they come and gives figures at any time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cameras: dict[str, _Camera] = {}
        self._began_s: float | None = None

    def observe(self, message: Message) -> None:
        """Take one message."""
        now_s = self._clock()
        self._began_s = now_s if self._began_s is None else self._began_s
        camera = self._cameras.setdefault(message.camera, _Camera())
        camera.heard_s = now_s
        if isinstance(message, Status):
            camera.status = message
            _add_processed(camera.processed, now_s, message.counts)
        elif isinstance(message, Prediction):
            camera.last = message
            camera.latencies_ms.append((now_s, message.latency.get("total", 0) / 1e3))

    @property
    def settled(self) -> bool:
        """Whether there was time for two heartbeats of every camera that is published."""
        return self._began_s is not None and self._clock() - self._began_s >= _SETTLED_S

    @property
    def heard(self) -> frozenset[str]:
        """The cameras of which anything has come."""
        return frozenset(self._cameras)

    @property
    def alarms(self) -> list[str]:
        """What is wrong with the publisher itself."""
        alarms = (alarm for c in self._cameras.values() if c.status is not None for alarm in c.status.alarms)
        return list(dict.fromkeys(alarms))

    def figures(self) -> list[CameraFigures]:
        """One row for each camera, by name."""
        now_s = self._clock()
        return [_figures(name, camera, now_s) for name, camera in sorted(self._cameras.items())]


def _add_processed(known: deque[tuple[float, int]], now_s: float, counts: Counts) -> None:
    if known and counts.processed < known[-1][1]:
        known.clear()  # the publisher or the camera began anew
    known.append((now_s, counts.processed))
    while now_s - known[0][0] > _RATE_WINDOW_S:
        known.popleft()


def _figures(name: str, camera: _Camera, now_s: float) -> CameraFigures:
    unheard_s = now_s - camera.heard_s
    status = camera.status or Status(camera=name, epoch=0, seq=0, state="connecting")
    lost = unheard_s > _UNHEARD_AFTER_S
    latencies = sorted(ms for at_s, ms in camera.latencies_ms if now_s - at_s <= _LATENCY_WINDOW_S)
    last = camera.last
    return CameraFigures(
        camera=name,
        state=UNHEARD if lost else status.state,
        detail=f"no heartbeat for {unheard_s:.0f} s" if lost else detail_of(status, unheard_s),
        rate_hz=None if lost else _rate(camera.processed),
        frame_age_s=round(status.frame_age_s + unheard_s, 3) if status.frame_age_s >= 0 else None,
        latency_p50_ms=percentile(latencies, 0.5),
        latency_p99_ms=percentile(latencies, 0.99),
        processed=status.counts.processed,
        dropped=status.counts.thinned + status.counts.overrun,
        damaged=status.counts.damaged,
        resets=status.resets,
        reconnects=status.reconnects,
        unheard_s=round(unheard_s, 3),
        label=last.label if last else "",
        score=max(last.scores.values()) if last else None,
    )


def _rate(processed: Sequence[tuple[float, int]]) -> float | None:
    if len(processed) < 2:
        return None
    (first_s, first), (last_s, last) = processed[0], processed[-1]
    return round((last - first) / (last_s - first_s), 2) if last_s > first_s else None


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the ordered values do not exceed (nearest rank); None of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
