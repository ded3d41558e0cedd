"""Moving digits: two cross a dark square and bounce off its walls (Srivastava et al. 2015, arXiv 1502.04681)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from digits import Digits

FRAMES = 20
"""Ten to look at, ten to foretell."""
EACH = 2
"""Digits in one sequence."""
SPEED = 0.1
"""Way per frame, as a share of the free width."""


def enlarged(digits: Digits, side: int) -> Digits:
    """The digits at another size, bilinear."""
    pictures = [cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR) for picture in digits.pictures]
    return Digits(np.stack(pictures).astype(np.uint8), digits.names)


def sequences(digits: Digits, count: int, size: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Sequences `[count, 20, size, size]`; where digits overlap the brighter pixel wins."""
    side = digits.pictures.shape[1]
    corners = np.rint(paths(count, rng) * (size - side)).astype(np.int64)
    which = rng.integers(len(digits), size=(count, EACH))
    out = np.zeros((count, FRAMES, size, size), np.uint8)
    for sequence, frame, digit in np.ndindex(count, FRAMES, EACH):
        top, left = corners[sequence, frame, digit]
        place = out[sequence, frame, top : top + side, left : left + side]
        np.maximum(place, digits.pictures[which[sequence, digit]], out=place)
    return out


def paths(count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Positions `[count, 20, 2, 2]` between 0 and 1: constant speed, elastic at both ends of either axis."""
    angle = rng.uniform(0, 2 * np.pi, (count, EACH))
    velocity = SPEED * np.stack([np.sin(angle), np.cos(angle)], -1)
    straight = rng.uniform(0, 1, (count, EACH, 2))[:, None] + np.arange(FRAMES)[:, None, None] * velocity[:, None]
    folded = np.mod(straight, 2.0)
    return np.minimum(folded, 2.0 - folded)
