"""When which camera fails and how: a plan from a seed, evenly over the cameras and the time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

PERIOD_TO_STALL_S = 10.0  # cameras that fail more often than this have no time for what lasts


@dataclass(frozen=True)
class Act:
    """Something that happens to a camera at so many seconds from the beginning. `begins` is False for its undoing."""

    at_s: float
    camera: int
    fault: str
    act: str
    begins: bool = True


LASTING = {"stall": ("pause", "resume"), "away": ("stop", "start")}
"""Faults that end a connection and last: how they begin and how they end."""
SHORT = ("disconnect", "crash", "hang")
"""Faults that end a connection at once: the camera hangs up; the capture process gets SIGSEGV, or SIGSTOP."""


def plan(
    *, seed: int, cameras: int, reconnects: int, begin_s: float, end_s: float, mild: Sequence[str] = ()
) -> list[Act]:
    """Acts in order of time: `reconnects` that end a connection, and after every fifth a mild one, which does not.

    Each camera fails once in each of its periods, at a moment that the seed chooses, and no fault outlives its period.
    """
    rng = random.Random(seed)
    acts = []
    for camera in range(cameras):
        number = reconnects // cameras + (camera < reconnects % cameras)
        period_s = (end_s - begin_s) / max(1, number)
        for k in range(number):
            first_s = begin_s + k * period_s
            acts += _failure(rng, camera, first_s, period_s)
            if mild and k % 5 == 4:
                acts += _mild(rng, camera, first_s + 0.6 * period_s, 0.3 * period_s, mild)
    return sorted(acts, key=lambda act: act.at_s)


def _failure(rng: random.Random, camera: int, first_s: float, period_s: float) -> list[Act]:
    kinds = [*SHORT, *(LASTING if period_s >= PERIOD_TO_STALL_S else ())]
    fault, at_s = rng.choice(kinds), first_s + rng.uniform(0.0, 0.3) * period_s
    if fault not in LASTING:
        return [Act(at_s, camera, fault, fault)]
    begin, end = LASTING[fault]
    lasts_s = rng.uniform(3.0, min(12.0, 0.3 * period_s))
    return [Act(at_s, camera, fault, begin), Act(at_s + lasts_s, camera, fault, end, begins=False)]


def _mild(rng: random.Random, camera: int, at_s: float, lasts_s: float, kinds: Sequence[str]) -> list[Act]:
    fault = rng.choice(kinds)
    return [Act(at_s, camera, fault, "inject"), Act(at_s + lasts_s, camera, fault, "clear", begins=False)]
