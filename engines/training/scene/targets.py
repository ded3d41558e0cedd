"""What the network is taught, from the generator's own facts: maps on a grid, and labels an observer can know."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engines.scene import LABELS, Scene
from engines.scene.truth import LOITERING_AFTER_S
from engines.scene.visits import Standing, Visit, depth_scale

Grid = tuple[int, int]
"""Rows and columns of the encoder's grid."""

PERSON_SPREAD, THING_SPREAD = 0.9, 0.7
"""Widths of the blobs, in cells."""

BEND_S = 0.6

BROUGHT, LEFT, STAYING = 1, 2, 4
"""Bits of the evidence: brought luggage stands here, it was left, somebody who is here has been in view for long."""


def picture_targets(scene: Scene, time_s: float, grid: Grid) -> NDArray[np.float32]:
    """Maps of person, standing luggage, carried luggage and bending: float32 `[4, rows, columns]` in 0..1."""
    maps = np.zeros((4, *grid), np.float32)
    for visit in _in_view(scene, time_s):
        x, y = _middle(visit, time_s)
        _blob(maps[0], x, y, PERSON_SPREAD)
        if visit.held(time_s) is not None:
            _blob(maps[2], x, y, PERSON_SPREAD)
        bend = max((math.exp(-(((time_s - at) / BEND_S) ** 2)) for at in visit.bends), default=0.0)
        _blob(maps[3], x, y, PERSON_SPREAD, bend)
    for item in scene.schedule.standing_at(time_s):
        _blob(maps[1], *_centre(item), THING_SPREAD)
    return maps


def evidence(scene: Scene, time_s: float, grid: Grid) -> NDArray[np.uint8]:
    """Bits of what memory should know of each cell: uint8 `[rows, columns]`."""
    bits = np.zeros(grid, np.uint8)
    for visit in _in_view(scene, time_s):
        if time_s - visit.enter_s >= LOITERING_AFTER_S:
            bits[_near(grid, *_middle(visit, time_s), PERSON_SPREAD)] |= STAYING
    for item in scene.schedule.brought:
        if item.stands(time_s):
            here = _near(grid, *_centre(item), THING_SPREAD)
            bits[here] |= BROUGHT | (LEFT if item.left(time_s) else 0)
    return bits


def moments(scene: Scene, time_s: float) -> tuple[float, float]:
    """Since when the longest visitor is in view (inf: nobody); when the newest left thing was put down (-inf: none)."""
    since = min((visit.enter_s for visit in _in_view(scene, time_s)), default=math.inf)
    left = max((item.put_s for item in scene.schedule.brought if item.left(time_s)), default=-math.inf)
    return since, left


def knowable_labels(
    times_s: NDArray[np.float64], since_s: NDArray[np.float64], left_s: NDArray[np.float64], seen_from_s: float
) -> NDArray[np.int64]:
    """Label indices for an observer who started to watch at `seen_from_s`; see `engines.scene.labels.label_at`."""
    idle, passing, loitering, left_behind = range(len(LABELS))
    stayed = times_s - np.maximum(since_s, seen_from_s)
    labels = np.where(np.isinf(since_s), idle, np.where(stayed >= LOITERING_AFTER_S, loitering, passing))
    return np.where(left_s > seen_from_s, left_behind, labels).astype(np.int64)


def _in_view(scene: Scene, time_s: float) -> list[Visit]:
    scene.schedule.extend(time_s)
    return [visit for visit in scene.schedule.visits_at(time_s) if visit.enter_s <= time_s < visit.exit_s]


def _middle(visit: Visit, time_s: float) -> tuple[float, float]:
    """A point at the knees: near the feet, where depth shows, and well inside the body."""
    x, y, _, _ = visit.path.at(time_s)
    return x, y - 0.25 * visit.look.height * depth_scale(y)


def _centre(item: Standing) -> tuple[float, float]:
    return item.x, item.y - 0.5 * item.look.height * depth_scale(item.y)


def _near(grid: Grid, x: float, y: float, spread: float) -> NDArray[np.bool_]:
    return _heat(grid, x, y, spread) > 0.5


def _blob(heat_map: NDArray[np.float32], x: float, y: float, spread: float, peak: float = 1.0) -> None:
    rows, columns = heat_map.shape
    np.maximum(heat_map, peak * _heat((rows, columns), x, y, spread), out=heat_map)


def _heat(grid: Grid, x: float, y: float, spread: float) -> NDArray[np.float32]:
    """A Gaussian around a point given in fractions of the picture; `spread` in cells."""
    down = np.arange(grid[0]) + 0.5 - y * grid[0]
    across = np.arange(grid[1]) + 0.5 - x * grid[1]
    heat = np.exp(-(down[:, None] ** 2 + across[None] ** 2) / (2 * spread**2))
    return np.asarray(heat, np.float32)
