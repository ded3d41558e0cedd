"""Visits: one person's way through the picture as a function of time, and what they do with their luggage."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from engines.scene.looks import ObjectLook, PersonLook

OUTSIDE = 0.13
"""How far beyond the picture's edge a way starts and ends, in picture widths."""

FLOOR_TOP, FLOOR_BOTTOM = 0.62, 0.95
"""Where feet and luggage may stand, in picture heights."""


def depth_scale(y: float) -> float:
    """How large a thing whose foot is at height `y` appears."""
    return 0.72 + 0.53 * (y - FLOOR_TOP) / (FLOOR_BOTTOM - FLOOR_TOP)


@dataclass(frozen=True)
class Path:
    """Straight pieces between knots `(time_s, x, y)`; two knots at one place are a pause."""

    knots: tuple[tuple[float, float, float], ...]
    walked: tuple[float, ...]

    @classmethod
    def through(cls, knots: list[tuple[float, float, float]]) -> Path:
        """A path with the distance walked up to each knot, in picture widths."""
        walked = [0.0]
        for (_, x0, y0), (_, x1, y1) in pairwise(knots):
            walked.append(walked[-1] + math.hypot(x1 - x0, 0.6 * (y1 - y0)))
        return cls(tuple(knots), tuple(walked))

    def at(self, time_s: float) -> tuple[float, float, float, float]:
        """x, y, distance walked and the direction of x (-1, 0 or 1) at a time."""
        index = bisect_right(self.knots, time_s, key=lambda knot: knot[0]) - 1
        index = min(max(index, 0), len(self.knots) - 2)
        (t0, x0, y0), (t1, x1, y1) = self.knots[index], self.knots[index + 1]
        share = min(max((time_s - t0) / (t1 - t0), 0.0), 1.0) if t1 > t0 else 1.0
        walked = self.walked[index] + share * (self.walked[index + 1] - self.walked[index])
        return x0 + share * (x1 - x0), y0 + share * (y1 - y0), walked, float(np.sign(x1 - x0))

    def in_view(self) -> tuple[float, float]:
        """When x first lies inside the picture, and when it last does."""
        return self._crossing(self.knots[0], self.knots[1]), self._crossing(self.knots[-1], self.knots[-2])

    @staticmethod
    def _crossing(outside: tuple[float, float, float], inside: tuple[float, float, float]) -> float:
        (t0, x0, _), (t1, x1, _) = outside, inside
        edge = 0.0 if x0 < 0.0 else 1.0
        return t0 + (t1 - t0) * (edge - x0) / (x1 - x0)


@dataclass(frozen=True)
class Hold:
    """A piece of luggage in a person's hand from one time to another."""

    from_s: float
    to_s: float
    look: ObjectLook


@dataclass(frozen=True)
class Visit:
    """One person from outside the picture to outside again."""

    person: int
    look: PersonLook
    path: Path
    holds: tuple[Hold, ...]
    bends: tuple[float, ...]
    enter_s: float
    exit_s: float

    @property
    def start_s(self) -> float:
        """When the person starts outside the picture."""
        return self.path.knots[0][0]

    @property
    def end_s(self) -> float:
        """When the person is outside the picture again."""
        return self.path.knots[-1][0]

    def held(self, time_s: float) -> ObjectLook | None:
        """What is in the person's hand."""
        return next((hold.look for hold in self.holds if hold.from_s <= time_s < hold.to_s), None)


@dataclass(frozen=True)
class Standing:
    """Luggage or furniture on the floor from `put_s` until `take_s`; left from `gone_s` on."""

    look: ObjectLook
    x: float
    y: float
    put_s: float
    take_s: float
    brought_by: int | None
    gone_s: float

    def stands(self, time_s: float) -> bool:
        """Whether it is on the floor."""
        return self.put_s <= time_s < self.take_s

    def left(self, time_s: float) -> bool:
        """Whether it is on the floor and its bringer has gone."""
        return self.gone_s <= time_s < self.take_s


def walk(start_s: float, speed: float, stops: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Knots of a walk at `speed` (picture widths a second) over stops `(x, y, pause_s)`."""
    time_s, knots = start_s, []
    for index, (x, y, pause_s) in enumerate(stops):
        if index:
            time_s += max(math.hypot(x - stops[index - 1][0], 0.6 * (y - stops[index - 1][1])) / speed, 0.05)
        knots.append((time_s, x, y))
        if pause_s > 0:
            time_s += pause_s
            knots.append((time_s, x, y))
    return knots


def shifted(knots: list[tuple[float, float, float]], by_s: float) -> list[tuple[float, float, float]]:
    """The same walk at another time."""
    return [(time_s + by_s, x, y) for time_s, x, y in knots]
