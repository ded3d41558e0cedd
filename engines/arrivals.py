"""Made-up traffic for verification: what each camera shows, when it starts afresh, and how frames fall into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.further import FurtherInput

_RESET_SHARE = 0.01  # of the steps start afresh
_HOLD_STEPS = 12  # a view lasts this long on average
_JITTER = 0.1  # of the views' own spread


@dataclass(frozen=True)
class CameraStream:
    """What one camera shows: features float32 `[T, *step_features]`, dt float32 `[T]` in seconds, fresh bool `[T]`.

    Where `fresh` is true the camera's memory is to be dropped before the step, and its dt means nothing.
    """

    features: NDArray[np.float32]
    dt: NDArray[np.float32]
    fresh: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.dt)

    def head(self, steps: int) -> CameraStream:
        """The first `steps` steps."""
        return CameraStream(self.features[:steps], self.dt[:steps], self.fresh[:steps])

    def without(self, step: int) -> CameraStream:
        """The stream with one step left out, starting afresh after it."""
        fresh = np.delete(self.fresh, step)
        fresh[step : step + 1] = True
        return CameraStream(np.delete(self.features, step, axis=0), np.delete(self.dt, step), fresh)


@dataclass(frozen=True)
class Arrivals:
    """Streams of some cameras, and the camera numbers of each batch: no camera twice, random order and number."""

    streams: tuple[CameraStream, ...]
    batches: tuple[tuple[int, ...], ...]

    def head(self, steps: int) -> Arrivals:
        """The same traffic with at most the first `steps` frames of each camera."""
        done = [0] * len(self.streams)
        batches = []
        for batch in self.batches:
            kept = tuple(camera for camera in batch if done[camera] < steps)
            for camera in kept:
                done[camera] += 1
            batches += [kept] if kept else []
        return Arrivals(tuple(stream.head(steps) for stream in self.streams), tuple(batches))


def pictures(rng: np.random.Generator, count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Coloured patches of random sizes under noise: uint8 `[count, height, width, 3]`."""
    images = np.empty((count, height, width, 3), np.uint8)
    for image in images:
        cell = int(rng.integers(2, max(3, min(height, width) // 2)))
        patches = rng.integers(0, 256, (-(-height // cell), -(-width // cell), 3))
        smooth = np.repeat(np.repeat(patches, cell, 0), cell, 1)[:height, :width]
        image[:] = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255)
    return images


def arrivals(
    rng: np.random.Generator,
    views: NDArray[np.float32],
    cameras: int,
    steps: int,
    further: Sequence[FurtherInput] = (),
) -> Arrivals:
    """Ragged streams of `steps / 2` to `steps` frames per camera, wandering among `views`, float32 `[V, *features]`.

    Further inputs come and go beside them.
    """
    lengths = [steps, *rng.integers(max(1, steps // 2), steps + 1, cameras - 1).tolist()]
    streams = tuple(_stream(rng, views, length, further) for length in lengths)
    return Arrivals(streams, tuple(_batches(rng, lengths)))


def _stream(
    rng: np.random.Generator, views: NDArray[np.float32], length: int, further: Sequence[FurtherInput]
) -> CameraStream:
    dt = rng.choice([0.05, 0.1, 0.2, 1.0], length).astype(np.float32)
    seen = accompanied(rng, wandering(rng, views, length), further)
    return CameraStream(seen, dt, rng.random(length) < _RESET_SHARE)


def wandering(rng: np.random.Generator, views: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """What a camera shows that looks at one of `views`, float32 `[V, *features]`, for a while and then at another."""
    moves = np.cumsum(rng.random(length) < 1 / _HOLD_STEPS)
    seen = views[rng.integers(0, len(views), length + 1)[moves]]
    return (seen + rng.normal(0, _JITTER * views.std() + 1e-6, seen.shape)).astype(np.float32)


def accompanied(
    rng: np.random.Generator, features: NDArray[np.float32], further: Sequence[FurtherInput]
) -> NDArray[np.float32]:
    """Features `[T, *features]` with further inputs behind them, `[T, *step_features]`, that come and go in spells."""
    if not further:
        return features
    parts = [features]
    for each in further:
        spells = np.cumsum(rng.random(len(features)) < 1 / _HOLD_STEPS) + rng.integers(2)
        present = (spells % 2)[:, None].astype(np.float32)
        values = rng.normal(size=(len(features), each.size)).astype(np.float32)
        parts += [present * values, present]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _batches(rng: np.random.Generator, lengths: list[int]) -> list[tuple[int, ...]]:
    left = list(lengths)
    batches = []
    while any(left):
        waiting = rng.permutation([camera for camera, count in enumerate(left) if count])
        batch = waiting[: rng.integers(1, len(waiting) + 1)].tolist()
        for camera in batch:
            left[camera] -= 1
        batches.append(tuple(batch))
    return batches
