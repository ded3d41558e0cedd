"""The lanes of stage 2: whole scenes as features and facts, walked in order by many streams at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.training.scene.footage import Camera, due_frames
from engines.training.scene.recipe import Memory
from engines.training.scene.targets import Grid, evidence, knowable_labels, moments

CHANGE_S = 0.5
"""Steps this close to a change of the label count less: nobody could tell."""


@dataclass(frozen=True)
class Footage:
    """One scene sampled at the model's rate: pictures and the facts of each step."""

    frames: NDArray[np.uint8]  # [F, H, W, 3] BGR
    times_s: NDArray[np.float64]  # [F]
    since_s: NDArray[np.float64]  # [F] see targets.moments
    left_s: NDArray[np.float64]  # [F]
    evidence: NDArray[np.uint8]  # [F, rows, columns]


@dataclass(frozen=True)
class Lane:
    """The same with the encoder's features, float16 `[F, D]`, in place of the pictures."""

    features: NDArray[np.float16]
    times_s: NDArray[np.float64]
    since_s: NDArray[np.float64]
    left_s: NDArray[np.float64]
    evidence: NDArray[np.uint8]


@dataclass(frozen=True)
class Chunk:
    """T consecutive steps of B lanes."""

    features: NDArray[np.float32]  # [B, T, D]
    dt: NDArray[np.float32]  # [B, T] seconds
    labels: NDArray[np.int64]  # [B, T]
    weight: NDArray[np.float32]  # [B, T] of the label
    evidence: NDArray[np.uint8]  # [B, T, rows, columns]
    knows: NDArray[np.float32]  # [B] 1 where the lane has been watched from its scene's start
    fresh: NDArray[np.bool_]  # [B] the state starts from zero


def film(seed: int, seconds: float, rate_hz: float, size: tuple[int, int], grid: Grid) -> Footage:
    """Watch one scene from its start through a random camera."""
    cv2.setNumThreads(1)
    camera = Camera.random(np.random.default_rng([seed, 12]))
    scene = camera.watch(seed)
    indices = list(due_frames(camera.fps, rate_hz, seconds))
    times = np.array([index / camera.fps for index in indices])
    frames = np.stack([camera.picture(scene, index, size) for index in indices])
    facts = np.array([moments(scene, float(time_s)) for time_s in times])
    bits = np.stack([evidence(scene, float(time_s), grid) for time_s in times])
    return Footage(frames, times, facts[:, 0], facts[:, 1], bits)


class Walk:
    """One epoch's walk of B lanes over all scenes in random order; deterministic in its generator."""

    def __init__(
        self, scenes: Sequence[Lane], settings: Memory, grid: Grid, rate_hz: float, rng: np.random.Generator
    ) -> None:
        self._scenes, self._settings, self._grid, self._rng = scenes, settings, grid, rng
        self._period_s = 1.0 / rate_hz
        self._queue = [int(index) for index in rng.permutation(len(scenes))]
        self._lanes = [_Walker() for _ in range(settings.lanes)]
        self.chunks = max(1, sum(len(scene.times_s) for scene in scenes) // (settings.lanes * settings.steps))

    def next(self) -> Chunk:
        """The next T steps of every lane."""
        parts = [self._advance(lane) for lane in self._lanes]
        return Chunk(*(np.stack(column) for column in zip(*parts, strict=True)))

    def _advance(self, lane: _Walker) -> tuple[np.ndarray | np.generic, ...]:
        steps = self._settings.steps
        where = self._choose_steps(lane)
        fresh = False
        while where is None:
            self._enter_scene(lane)
            fresh, where = True, self._choose_steps(lane)
        if not fresh and self._rng.random() < self._settings.reset:
            fresh, lane.knows, lane.age = True, False, 0
            lane.seen_from_s = float(lane.scene.times_s[where[0]])
        times = lane.scene.times_s[where]
        before = lane.last_s if not fresh else times[0] - self._period_s
        lane.last_s, lane.at = float(times[-1]), int(where[-1]) + 1
        labels = knowable_labels(times, lane.scene.since_s[where], lane.scene.left_s[where], lane.seen_from_s)
        weight = self._weights(labels, np.arange(lane.age, lane.age + steps))
        lane.age += steps
        features, bits = lane.scene.features[where].astype(np.float32), lane.scene.evidence[where]
        if lane.mirrored:
            features = features.reshape(steps, -1, *self._grid)[..., ::-1].reshape(steps, -1)
            bits = bits[..., ::-1]
        dt = np.diff(times, prepend=before).astype(np.float32)
        return features, dt, labels, weight, bits, np.float32(lane.knows), np.bool_(fresh)

    def _enter_scene(self, lane: _Walker) -> None:
        if not self._queue:
            self._queue = [int(index) for index in self._rng.permutation(len(self._scenes))]
        lane.scene = self._scenes[self._queue.pop()]
        lane.mirrored = bool(self._rng.random() < 0.5)
        late = self._rng.random() < 0.2
        lane.at = int(self._rng.integers(0, len(lane.scene.times_s) // 2)) if late else 0
        lane.knows, lane.age = lane.at == 0, 0
        lane.seen_from_s = float(lane.scene.times_s[lane.at]) if late else -np.inf
        lane.drop = float(self._rng.uniform(0.1, 0.6)) if self._rng.random() < self._settings.drop else 0.0

    def _choose_steps(self, lane: _Walker) -> NDArray[np.int64] | None:
        """The next T frames that are not lost (losses come in bursts of two or three), or None at the end."""
        if lane.scene is None:
            return None
        left = len(lane.scene.times_s) - lane.at
        if lane.drop:
            lost = self._rng.random(left) < lane.drop / 2.5
            lost |= np.roll(lost, 1) | (np.roll(lost, 2) & (self._rng.random(left) < 0.5))
            kept = np.flatnonzero(~lost)
        else:
            kept = np.arange(left)
        return kept[: self._settings.steps] + lane.at if len(kept) >= self._settings.steps else None

    def _weights(self, labels: NDArray[np.int64], age: NDArray[np.int64]) -> NDArray[np.float32]:
        """Less for the first steps after a reset and around a change of the label."""
        weight = np.where(age < self._settings.warm_up_steps, 0.25, 1.0).astype(np.float32)
        change = np.flatnonzero(labels[1:] != labels[:-1])
        for index in change:
            weight[max(0, index - 1) : index + 3] *= 0.3
        return weight


class _Walker:
    """Where one lane is; belongs to its walk alone."""

    def __init__(self) -> None:
        self.scene: Lane = None  # type: ignore[assignment]
        self.at = self.age = 0
        self.last_s = self.seen_from_s = self.drop = 0.0
        self.knows = self.mirrored = False
