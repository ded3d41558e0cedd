"""A frame number as a bar code in the picture's top rows: wide fields that survive H.264 and shrinking."""

from __future__ import annotations

import numpy as np

BITS = 16


def draw(picture: np.ndarray, number: int) -> np.ndarray:
    """Write `number` (16 bits, most significant first) across the top eighth of uint8 `[H, W, 3]`."""
    height, width = picture.shape[:2]
    for bit in range(BITS):
        value = 255 if number >> (BITS - 1 - bit) & 1 else 0
        picture[: height // 8, bit * width // BITS : (bit + 1) * width // BITS] = value
    return picture


def read(picture: np.ndarray) -> int:
    """The number in a picture of any size."""
    height, width = picture.shape[:2]
    number = 0
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        margin = max(1, (right - left) // 4)
        field = picture[max(1, height // 32) : height // 8 - max(1, height // 32), left + margin : right - margin]
        number = number << 1 | int(field.mean() > 127)
    return number
