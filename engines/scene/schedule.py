"""The endless schedule of a scene: who comes when, what they bring and who takes it away; extended as time goes on."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable

import numpy as np

from engines.scene.looks import ObjectLook, PersonLook, RoomLook, random_object, random_person, random_room
from engines.scene.visits import (
    FLOOR_BOTTOM,
    FLOOR_TOP,
    OUTSIDE,
    Hold,
    Path,
    Standing,
    Visit,
    depth_scale,
    shifted,
    walk,
)

Stop = tuple[float, float, float]
"""x, y and how long the person stays there in seconds."""

LONGEST_VISIT_S = 90.0
NARROWEST_PICTURE = 4.0 / 3.0

UNCLEAR_S = (5.4, 7.6)
"""Nobody stays this long: they would begin to loiter just as they go."""

EPISODES = {
    "pass": 0.24,
    "linger": 0.18,
    "glance": 0.08,
    "carry": 0.10,
    "drop": 0.17,
    "drop_and_take": 0.09,
    "pair": 0.07,
    "chain": 0.07,
}
"""How often each kind of episode comes."""


class Schedule:
    """All that happens in the scene of one seed; deterministic, however far and in whichever order it is asked for."""

    def __init__(self, seed: int, *, pace: float = 1.0, left_s: tuple[float, float] | None = None) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._pace, self._left_s = pace, left_s
        self.room: RoomLook = random_room(self._rng)
        self.furniture: list[Standing] = []
        self.brought: list[Standing] = []
        self.visits: list[Visit] = []
        for _ in range(int(self._rng.choice(5, p=[0.2, 0.25, 0.25, 0.2, 0.1]))):
            self._furnish()
        self._planned: list[Visit] = []
        self._people = 0
        self._clock_s = float(self._rng.uniform(2.2, 4.0))

    def extend(self, until_s: float) -> None:
        """Make sure that every visit that starts before `until_s` is known."""
        while self._clock_s <= until_s:
            self._episode()

    def visits_at(self, time_s: float) -> list[Visit]:
        """The visits under way at a time, from those known."""
        first = bisect_left(self.visits, time_s - LONGEST_VISIT_S, key=lambda visit: visit.start_s)
        last = bisect_left(self.visits, time_s, key=lambda visit: visit.start_s)
        return [visit for visit in self.visits[first:last] if time_s < visit.end_s]

    def standing_at(self, time_s: float) -> list[Standing]:
        """Furniture and luggage on the floor at a time."""
        return self.furniture + [item for item in self.brought if item.stands(time_s)]

    # ---- episodes ------------------------------------------------------------------------------------------------
    def _episode(self) -> None:
        start_s = self._after_planned(self._clock_s)
        standing = [item for item in self.brought if item.take_s > start_s]
        weights = dict(EPISODES)
        weights["drop"] *= (1.0, 0.35, 0.0)[min(len(standing), 2)]
        kind = str(self._rng.choice(list(weights), p=np.array(list(weights.values())) / sum(weights.values())))
        if kind == "pair":
            end_s = max(
                self._visit(self._simple(), start_s), self._visit(self._simple(), start_s + self._rng.uniform(0, 2.5))
            )
        elif kind == "chain":
            end_s = self._chain(start_s)
        else:
            end_s = self._visit(kind, start_s)
        gap_s = self._rng.uniform(8.0, 15.0) if self._rng.random() < 0.12 else self._rng.uniform(1.0, 6.5)
        self._clock_s = end_s + float(gap_s) / self._pace

    def _simple(self) -> str:
        return str(
            self._rng.choice(["pass", "linger", "carry", "glance", "drop_and_take"], p=[0.4, 0.3, 0.15, 0.08, 0.07])
        )

    def _chain(self, start_s: float) -> float:
        """People one right after another: somebody is in view all the time, but nobody for long."""
        for _ in range(int(self._rng.integers(2, 4))):
            visit = self._build(str(self._rng.choice(["pass", "glance", "carry"])), 0.0)
            visit = self._add(visit, start_s - visit.enter_s)
            start_s = visit.exit_s + float(
                self._rng.uniform(-1.2, -0.1) if self._rng.random() < 0.7 else self._rng.uniform(1.5, 3.0)
            )
        return self.visits[-1].end_s

    def _after_planned(self, start_s: float) -> float:
        """Mostly keep out of the way of whoever comes to collect something."""
        self._planned = [visit for visit in self._planned if visit.end_s > start_s]
        for visit in sorted(self._planned, key=lambda visit: visit.start_s):
            if visit.start_s - 9.0 < start_s < visit.end_s and self._rng.random() > 0.15:
                start_s = visit.end_s + float(self._rng.uniform(0.8, 5.0))
        return start_s

    def _visit(self, kind: str, start_s: float) -> float:
        return self._add(self._build(kind, float(start_s)), 0.0).end_s

    def _add(self, visit: Visit, by_s: float) -> Visit:
        """Enter the visit moved by `by_s`; luggage left behind is entered with whoever collects it."""
        if by_s:
            visit = _moved(visit, by_s)
        insort(self.visits, visit, key=lambda other: other.start_s)
        return visit

    def _build(self, kind: str, start_s: float) -> Visit:
        if kind == "drop":
            return self._drop(start_s)
        if kind == "drop_and_take":
            return self._drop_and_take(start_s)
        stops = {"pass": self._crossing, "carry": self._crossing, "linger": self._lingering, "glance": self._glancing}[
            kind
        ]
        carries = kind == "carry" or (kind == "linger" and self._rng.random() < 0.25)
        holds = (Hold(-math.inf, math.inf, self._luggage()),) if carries else ()
        return self._person(random_person(self._rng), self._way(start_s, stops), holds, ())

    def _drop(self, start_s: float) -> Visit:
        """Somebody puts something down and goes; the one who will collect it is planned at once."""
        look = self._luggage()
        x, y, beside = self._spot(look, start_s)

        def stops() -> list[Stop]:
            after = [(*self._place(), float(self._rng.uniform(0.3, 5.0)))] if self._rng.random() < 0.4 else []
            return [self._outside(), (beside, y, float(self._rng.uniform(0.8, 1.8))), *after, self._outside()]

        knots = self._way(start_s, stops)
        put_s = 0.5 * (knots[1][0] + knots[2][0])
        visit = self._person(random_person(self._rng), knots, (Hold(-math.inf, put_s, look),), (put_s,))
        take_s = visit.exit_s + self._left_for_s()
        owner = visit.look if self._rng.random() < 0.5 else random_person(self._rng)
        self.brought.append(Standing(look, x, y, put_s, take_s, visit.person, visit.exit_s))
        collector = self._collector(owner, look, beside, y, take_s)
        self._planned.append(self._add(collector, 0.0))
        return visit

    def _collector(self, person: PersonLook, look: ObjectLook, x: float, y: float, take_s: float) -> Visit:
        def stops() -> list[Stop]:
            return [self._outside(), (x, y, float(self._rng.uniform(1.6, 3.0))), self._outside()]

        knots = self._way(0.0, stops)
        knots = shifted(knots, take_s - knots[1][0] - 0.6)
        return self._person(person, knots, (Hold(take_s, math.inf, look),), (take_s,))

    def _drop_and_take(self, start_s: float) -> Visit:
        """Somebody puts something down, stays with it and takes it along again: nothing is left behind."""
        look = self._luggage()
        x, y, beside = self._spot(look, start_s)

        def stops() -> list[Stop]:
            around = (
                [(*self._place(), float(self._rng.uniform(0.3, 2.5))), (beside, y, 1.0)]
                if self._rng.random() < 0.5
                else []
            )
            return [self._outside(), (beside, y, float(self._rng.uniform(1.0, 4.0))), *around, self._outside()]

        knots = self._way(start_s, stops)
        put_s, take_s = knots[1][0] + 0.4, knots[-2][0] - 0.4
        holds = (Hold(-math.inf, put_s, look), Hold(take_s, math.inf, look))
        visit = self._person(random_person(self._rng), knots, holds, (put_s, take_s))
        self.brought.append(Standing(look, x, y, put_s, take_s, visit.person, math.inf))
        return visit

    # ---- ways ----------------------------------------------------------------------------------------------------
    def _person(
        self,
        look: PersonLook,
        knots: list[tuple[float, float, float]],
        holds: tuple[Hold, ...],
        bends: tuple[float, ...],
    ) -> Visit:
        self._people += 1
        path = Path.through(knots)
        return Visit(self._people, look, path, holds, bends, *path.in_view())

    def _way(self, start_s: float, stops: Callable[[], list[Stop]]) -> list[tuple[float, float, float]]:
        """A walk over stops drawn until its time in view clearly is, or clearly is not, loitering."""
        for _ in range(50):
            knots = walk(start_s, self._speed(), stops())
            enter_s, exit_s = Path.through(knots).in_view()
            if not UNCLEAR_S[0] < exit_s - enter_s < UNCLEAR_S[1]:
                break
        return knots

    def _outside(self, right: bool | None = None) -> Stop:  # noqa: FBT001 - a side has no better name
        right = bool(self._rng.random() < 0.5) if right is None else right
        return (1.0 + OUTSIDE if right else -OUTSIDE), float(self._rng.uniform(FLOOR_TOP, FLOOR_BOTTOM)), 0.0

    def _place(self) -> tuple[float, float]:
        return float(self._rng.uniform(0.1, 0.9)), float(self._rng.uniform(FLOOR_TOP, FLOOR_BOTTOM))

    def _speed(self) -> float:
        return float(self._rng.uniform(0.11, 0.15) if self._rng.random() < 0.08 else self._rng.uniform(0.17, 0.34))

    def _crossing(self) -> list[Stop]:
        right = bool(self._rng.random() < 0.5)
        return [self._outside(right), self._outside(not right)]

    def _lingering(self) -> list[Stop]:
        stops = [(*self._place(), float(self._rng.uniform(1.5, 7.0))) for _ in range(int(self._rng.integers(1, 4)))]
        return [self._outside(), *stops, self._outside()]

    def _glancing(self) -> list[Stop]:
        """In, a short stop near the edge, and out on the same side."""
        right = bool(self._rng.random() < 0.5)
        x = float(self._rng.uniform(0.6, 0.88) if right else self._rng.uniform(0.12, 0.4))
        middle = (x, float(self._rng.uniform(FLOOR_TOP, FLOOR_BOTTOM)), float(self._rng.uniform(0.2, 1.5)))
        return [self._outside(right), middle, self._outside(right)]

    def _left_for_s(self) -> float:
        if self._left_s is not None:
            return float(self._rng.uniform(*self._left_s))
        low, high = ((4.0, 12.0), (12.0, 40.0), (62.0, 110.0))[int(self._rng.choice(3, p=[0.4, 0.35, 0.25]))]
        return float(self._rng.uniform(low, high))

    # ---- things --------------------------------------------------------------------------------------------------
    def _luggage(self) -> ObjectLook:
        return random_object(self._rng, self.room.floor)

    def _furnish(self) -> None:
        look = self._luggage()
        x, y, _ = self._spot(look, 0.0)
        self.furniture.append(Standing(look, x, y, -math.inf, math.inf, None, math.inf))

    def _spot(self, look: ObjectLook, time_s: float) -> tuple[float, float, float]:
        """A free place: nothing that stands there hides the thing or is hidden by it; and where its bringer stands."""
        others = self.furniture + [item for item in self.brought if item.take_s > time_s]
        for _ in range(200):
            x, y = float(self._rng.uniform(0.08, 0.92)), float(self._rng.uniform(FLOOR_TOP + 0.02, FLOOR_BOTTOM))
            if all(_apart(look, x, y, other) for other in others):
                break
        side = -1.0 if (self._rng.random() < 0.5 or x < 0.12) and x < 0.88 else 1.0
        return x, y, x - side * (0.028 + 0.5 * _width(look, y))


def _width(look: ObjectLook, y: float) -> float:
    """Widest share of the picture's width that the thing takes in any picture format in use."""
    return look.height * look.aspect * depth_scale(y) / NARROWEST_PICTURE


def _apart(look: ObjectLook, x: float, y: float, other: Standing) -> bool:
    beside = abs(x - other.x) > 0.5 * (_width(look, y) + _width(other.look, other.y)) + 0.02
    behind, front = sorted([(y, look.height * depth_scale(y)), (other.y, other.look.height * depth_scale(other.y))])
    return beside or front[0] - front[1] > behind[0] + 0.02


def _moved(visit: Visit, by_s: float) -> Visit:
    """The visit at another time; only for visits that touch nothing on the floor."""
    knots = shifted(list(visit.path.knots), by_s)
    return Visit(
        visit.person,
        visit.look,
        Path.through(knots),
        visit.holds,
        visit.bends,
        visit.enter_s + by_s,
        visit.exit_s + by_s,
    )
