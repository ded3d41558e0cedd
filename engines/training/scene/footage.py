"""Training pictures as a camera would deliver them: rendered at some size and rate, compressed, sampled and resized."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.sampling_grid import sampling_cell
from engines.scene import Scene
from engines.shrink import shrunk

Picture = NDArray[np.uint8]

SIZES = ((256, 144), (320, 180), (384, 216), (256, 192), (640, 360))
SIZE_CHANCES = (0.36, 0.28, 0.12, 0.16, 0.08)
RATES = (15.0, 25.0, 30.0, 12.0, 10.0)
RATE_CHANCES = (0.45, 0.25, 0.1, 0.1, 0.1)


@dataclass(frozen=True)
class Camera:
    """One drawing of what lies between a world and the network: size, rate and compression (0: none)."""

    width: int
    height: int
    fps: float
    jpeg_quality: int

    @classmethod
    def random(cls, rng: np.random.Generator) -> Camera:
        """Small sizes mostly, since they are quick to draw; a fifth in 4:3."""
        width, height = SIZES[int(rng.choice(len(SIZES), p=SIZE_CHANCES))]
        fps = RATES[int(rng.choice(len(RATES), p=RATE_CHANCES))]
        return cls(width, height, fps, int(rng.integers(25, 85)) if rng.random() < 0.6 else 0)

    def watch(self, seed: int) -> Scene:
        """The scene of a seed, seen by this camera."""
        return Scene(seed, self.width, self.height, self.fps)

    def picture(self, scene: Scene, index: int, size: tuple[int, int]) -> Picture:
        """Frame `index` as the network sees it: uint8 `[height, width, 3]` for `size` (height, width)."""
        frame = scene.frame(index)
        if self.jpeg_quality:
            _, packed = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
            frame = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
        return shrunk(frame, size)


def due_frames(fps: float, rate_hz: float, seconds: float) -> Iterator[int]:
    """Indices of the frames that a sampler at `rate_hz` takes from a source at `fps`: the first of each period."""
    taken = -1
    for index in range(int(seconds * fps)):
        cell = sampling_cell(index / fps, rate_hz)
        if cell > taken:
            taken = cell
            yield index
