"""The shuffled single pictures of stage 1 and what each of them shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.training.scene.footage import Camera, Picture
from engines.training.scene.targets import Grid, picture_targets

LATEST_S = 300.0


@dataclass(frozen=True)
class PictureBatch:
    """Pictures uint8 `[N, H, W, 3]` BGR and their maps uint8 `[N, 4, rows, columns]`, 255 meaning 1."""

    frames: NDArray[np.uint8]
    maps: NDArray[np.uint8]


def scene_pictures(seed: int, count: int, size: tuple[int, int], grid: Grid) -> PictureBatch:
    """Pictures of one scene at random moments, most of them with somebody in view."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([seed, 11])
    camera = Camera.random(rng)
    scene = camera.watch(seed)
    frames: list[Picture] = []
    maps: list[NDArray[np.uint8]] = []
    while len(frames) < count:
        index = int(rng.integers(int(LATEST_S * camera.fps)))
        time_s = index / camera.fps
        if scene.truth(time_s).people or rng.random() < 0.4:
            frames.append(camera.picture(scene, index, size))
            maps.append(np.rint(255 * picture_targets(scene, time_s, grid)).astype(np.uint8))
    return PictureBatch(np.stack(frames), np.stack(maps))


def augment(frames: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One draw of gain, tint and offset per picture, and a little noise; uint8 as before."""
    gain = rng.uniform(0.75, 1.25, (len(frames), 1, 1, 1)) * rng.uniform(0.93, 1.07, (len(frames), 1, 1, 3))
    offset = rng.uniform(-12, 12, (len(frames), 1, 1, 1))
    noise = rng.standard_normal(frames.shape, np.float32) * rng.uniform(0, 2.5, (len(frames), 1, 1, 1)).astype(
        np.float32
    )
    changed = frames * gain.astype(np.float32) + offset.astype(np.float32) + noise
    return np.asarray(np.clip(changed, 0, 255), np.uint8)
