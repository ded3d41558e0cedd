"""Lanes: many streams walked side by side, each made of sequences that follow each other as a camera's frames do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.drops import kept_steps
from engines.training.learning import Learning
from engines.training.sequences import UNLABELLED, FeatureSequence

WARM_UP_WEIGHT = 0.25
"""What a step counts that comes so soon after a start or a cut that little can be known."""

Views = Sequence[Sequence[FeatureSequence]]
"""`views[k][i]` is sequence i as augmentation k shows it; there is at least one view, and all are equally long."""


@dataclass(frozen=True)
class Chunk:
    """T consecutive steps of B lanes."""

    features: NDArray[Any]  # [B, T, *features] float32, or uint8 where they are frames
    dt: NDArray[np.float32]  # [B, T] seconds
    labels: NDArray[np.int64]  # [B, T], 0 where the weight is 0
    weight: NDArray[np.float32]  # [B, T]
    fresh: NDArray[np.bool_]  # [B] the state starts from zero


class Walk:
    """One epoch's walk of B lanes over all sequences in random order; deterministic in its generator.

    A lane that comes to its sequence's end takes up another: with probability `join` at once and with its state, else
    in the next chunk and from zero, and the rest of its chunk is padding of weight 0.
    """

    def __init__(self, views: Views, settings: Learning, rate_hz: float, rng: np.random.Generator) -> None:
        self._views, self._settings, self._rng = views, settings, rng
        self._period_s = 1.0 / rate_hz
        self._deck = _Deck(views[0], settings, rng)
        self._lanes = [_Lane() for _ in range(settings.lanes)]
        self.chunks = chunks_of(views, settings)

    def next(self) -> Chunk:
        """The next T steps of every lane."""
        rows = [self._advance(lane) for lane in self._lanes]
        return Chunk(*(np.stack(column) for column in zip(*rows, strict=True)))

    def _advance(self, lane: _Lane) -> tuple[NDArray[Any] | np.bool_, ...]:
        settings = self._settings
        fresh, lane.afresh = lane.afresh, False
        if not lane.left:
            self._enter(lane)
        elif self._rng.random() < settings.reset:
            fresh, lane.age = True, 0
        row = _Row(settings.steps, lane.sequence, self._period_s)
        while row.room:
            self._take(lane, row)
            if lane.left:
                break
            lane.afresh = bool(self._rng.random() >= settings.join)
            if lane.afresh:
                break
            if row.room:
                self._enter(lane)
        if fresh:
            row.dt[0] = self._period_s  # as a step from zero is served
        return row.features, row.dt, row.labels, row.weight, np.bool_(fresh)

    def _enter(self, lane: _Lane) -> None:
        """Take up another sequence in one of its views, some of its start left out and some steps lost."""
        settings, rng = self._settings, self._rng
        view = self._views[int(rng.integers(0, len(self._views)))]
        lane.sequence = view[self._deck.draw()]
        length = len(lane.sequence)
        latest = length - 1 if not lane.started and length > settings.steps else int(settings.offset * length)
        start = int(rng.integers(0, latest + 1)) if settings.offset > 0 else 0
        rate = float(rng.uniform(*settings.drop_rate)) if rng.random() < settings.drop else 0.0
        lane.kept = start + kept_steps(length - start, rate, rng)
        lane.at = lane.age = 0
        lane.started = True

    def _take(self, lane: _Lane, row: _Row) -> None:
        """Fill the row with as much of the lane's sequence as there is room for."""
        where = lane.kept[lane.at : lane.at + row.room]
        times = lane.sequence.times_s[where]
        before = lane.sequence.times_s[lane.kept[lane.at - 1]] if lane.at else times[0] - self._period_s
        dt = np.diff(times, prepend=before)
        labels = lane.sequence.labels[where]
        age = np.arange(lane.age, lane.age + len(where))
        weight = np.where(age < self._settings.warm_up_steps, WARM_UP_WEIGHT, 1.0) * (labels != UNLABELLED)
        if self._settings.last_only:
            weight = _last_only(labels != UNLABELLED)
        row.add(lane.sequence.features[where], dt, np.maximum(labels, 0), weight)
        lane.at, lane.age = lane.at + len(where), lane.age + len(where)


def chunks_of(views: Views, settings: Learning) -> int:
    """Chunks of one epoch: as many steps as the sequences have."""
    steps = sum(len(sequence) for sequence in views[0])
    return max(1, -(-steps // (settings.lanes * settings.steps)))


def _last_only(labelled: NDArray[np.bool_]) -> NDArray[np.float64]:
    weight = np.zeros(len(labelled))
    if labelled.any():
        weight[np.flatnonzero(labelled)[-1]] = 1.0
    return weight


class _Lane:
    """Where one lane is; belongs to its walk alone."""

    def __init__(self) -> None:
        self.sequence: FeatureSequence = None  # type: ignore[assignment]
        self.kept: NDArray[np.int64] = np.empty(0, np.int64)
        self.at = self.age = 0
        self.afresh = True
        self.started = False

    @property
    def left(self) -> int:
        """Steps of the sequence that are still to come."""
        return len(self.kept) - self.at


class _Row:
    """One lane's part of a chunk while it is filled; what stays empty has weight 0."""

    def __init__(self, steps: int, like: FeatureSequence, period_s: float) -> None:
        kind = np.uint8 if like.features.dtype == np.uint8 else np.float32
        self.features = np.zeros((steps, *like.features.shape[1:]), kind)
        self.dt = np.full(steps, period_s, np.float32)
        self.labels = np.zeros(steps, np.int64)
        self.weight = np.zeros(steps, np.float32)
        self.room = steps

    def add(
        self, features: NDArray[Any], dt: NDArray[np.float64], labels: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> None:
        """Append some steps."""
        at = len(self.dt) - self.room
        here = slice(at, at + len(dt))
        self.features[here], self.dt[here], self.labels[here], self.weight[here] = features, dt, labels, weight
        self.room -= len(dt)


class _Deck:
    """Which sequence comes next: each in turn in random order, or by label."""

    def __init__(self, sequences: Sequence[FeatureSequence], settings: Learning, rng: np.random.Generator) -> None:
        self._rng, self._count = rng, len(sequences)
        self._queue: list[int] = []
        self._holders: list[list[int]] = []
        if settings.draw == "by_label":
            held = [set(np.unique(sequence.labels).tolist()) - {UNLABELLED} for sequence in sequences]
            self._holders = [[i for i, own in enumerate(held) if label in own] for label in sorted(set().union(*held))]

    def draw(self) -> int:
        """The index of a sequence."""
        if self._holders:
            holders = self._holders[int(self._rng.integers(0, len(self._holders)))]
            return holders[int(self._rng.integers(0, len(holders)))]
        if not self._queue:
            self._queue = self._rng.permutation(self._count).tolist()
        return self._queue.pop()
