"""Intervals by resampling groups: frames of one video, and clips of one source, are not independent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]
Metric = Callable[[Weights], float]
"""From the weight of each group `[G]` to a figure; it raises `Undefined` where there is none."""

LEVEL = 0.95


class Undefined(Exception):  # noqa: N818 - not an error of anybody's: the figure does not exist for these data
    """A figure does not exist for these data; the text is the reason, in one clause."""


class Figure(msgspec.Struct, frozen=True):
    """One figure with its 95 % interval; `value` is None where it is undefined, and `why` says why.

    The bounds are None where there is no interval, with the reason in `why` as well.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""


class Resampling:
    """Draws of whole groups with replacement, the same for every figure, so that differences are paired.

    Percentile bootstrap (Efron 1979, Annals of Statistics 7:1) over clusters (Field & Welsh 2007, JRSS B 69:3).
    """

    def __init__(self, groups: Sequence[str], draws: int = 1000, seed: int = 0) -> None:
        self.names = tuple(dict.fromkeys(groups))
        places = {name: place for place, name in enumerate(self.names)}
        self.index: NDArray[np.int64] = np.array([places[group] for group in groups], np.int64)
        self.draws, self.seed = draws, seed

    @cached_property
    def _weights(self) -> Weights:
        count = len(self.names)
        rng = np.random.default_rng(self.seed)
        return rng.multinomial(count, np.full(count, 1.0 / count), self.draws).astype(np.float64)

    def figure(self, metric: Metric) -> Figure:
        """The metric of the data as they are, and the middle 95 % of it over the draws."""
        try:
            value = float(metric(np.ones(len(self.names))))
        except Undefined as reason:
            return Figure(None, why=str(reason))
        if len(self.names) < 2 or not self.draws:
            return Figure(value, why="one group gives no interval" if self.draws else "no draws were asked for")
        values = [drawn for weights in self._weights if (drawn := _value(metric, weights)) is not None]
        if 2 * len(values) < self.draws:
            return Figure(value, why="undefined in most draws of groups, so there is no interval")
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Figure(value, float(low), float(high))

    def difference(self, one: Metric, other: Metric) -> Figure:
        """The first metric minus the second, on the same draws."""
        return self.figure(lambda weights: one(weights) - other(weights))


def _value(metric: Metric, weights: Weights) -> float | None:
    try:
        return float(metric(weights))
    except Undefined:
        return None
