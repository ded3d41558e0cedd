"""Sub-pixel drawing in units of the picture's height, so that every resolution shows the same world."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.scene.looks import Colour

Image = NDArray[np.uint8]
Point = tuple[float, float]

_SHIFT = 4
_ONE = 1 << _SHIFT


class Canvas:
    """Draws on a BGR picture; coordinates are multiples of its height, origin at the top left."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.height = image.shape[0]
        self.width = image.shape[1] / image.shape[0]

    def polygon(self, points: list[Point], colour: Colour) -> None:
        """A filled polygon with smooth edges; the half pixel that smoothing adds is taken off by the caller's taste."""
        scaled = np.array(points, np.float64) * (self.height * _ONE) - 0.5 * _ONE
        cv2.fillPoly(self.image, [scaled.astype(np.int32)], colour, cv2.LINE_AA, _SHIFT)

    def limb(self, start: Point, end: Point, width: float, colour: Colour) -> None:
        """A straight limb of constant width."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1e-6
        nx, ny = -0.5 * width * dy / length, 0.5 * width * dx / length
        self.polygon(
            [
                (start[0] + nx, start[1] + ny),
                (end[0] + nx, end[1] + ny),
                (end[0] - nx, end[1] - ny),
                (start[0] - nx, start[1] - ny),
            ],
            colour,
        )

    def ellipse(self, centre: Point, half_width: float, half_height: float, colour: Colour) -> None:
        """A filled upright ellipse."""
        unit = self.height * _ONE
        where = (int(centre[0] * unit - 0.5 * _ONE), int(centre[1] * unit - 0.5 * _ONE))
        cv2.ellipse(
            self.image,
            where,
            (int(half_width * unit), int(half_height * unit)),
            0,
            0,
            360,
            colour,
            -1,
            cv2.LINE_AA,
            _SHIFT,
        )

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled upright rectangle with smooth edges."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def shadow(self, centre: Point, half_width: float, half_height: float, strength: float) -> None:
        """Darken a soft ellipse."""
        left, right = round((centre[0] - half_width) * self.height), round((centre[0] + half_width) * self.height)
        top, bottom = round((centre[1] - half_height) * self.height), round((centre[1] + half_height) * self.height)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, self.image.shape[1]), min(bottom, self.image.shape[0])
        if x1 <= x0 or y1 <= y0:
            return
        mask = cv2.resize(_soft_disc(), (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        mask = mask[y0 - top : y1 - top, x0 - left : x1 - left, None]
        region = self.image[y0:y1, x0:x1]
        region[:] = region * (1.0 - strength * mask)


@lru_cache(maxsize=1)
def _soft_disc() -> NDArray[np.float32]:
    """A disc that fades out, 1 in the middle; float32 `[48, 48]`."""
    axis = np.linspace(-1.0, 1.0, 48, dtype=np.float32)
    distance = np.hypot(axis[:, None], axis[None])
    return np.asarray(np.clip(1.0 - distance, 0.0, 1.0) ** 0.8, np.float32)
