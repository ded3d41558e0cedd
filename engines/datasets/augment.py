"""Clips under one draw of augmentation: geometry and colour alike for all frames, loss of quality per frame."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engines.datasets.draws import Augmentation, Draw, check_augmentation, draw

__all__ = ["Augmentation", "Draw", "apply", "check_augmentation", "colour_matrix", "draw", "to_source"]

Frames = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]

_LUMA = np.array([0.114, 0.587, 0.299])  # of B, G, R: ITU-R BT.601
_GREY = 128.0


def apply(frames: Frames, drawn: Draw, size: tuple[int, int] | None = None, *, first: int = 0) -> Frames:
    """Frames uint8 `[F, h, w, 3]` BGR under a draw, at `size` (height, width) or their own.

    Geometry and colour are the same for all; `first` is the number of the first frame in its clip, so that a clip given
    in batches is the same as in one piece.
    """
    import cv2  # noqa: PLC0415 - only what sees pictures needs it

    height, width = size or frames.shape[1:3]
    place, colour = to_source(drawn, frames.shape[1:3], (height, width)), colour_matrix(drawn)
    moved = not np.allclose(place, np.eye(2, 3), atol=1e-9) or (height, width) != frames.shape[1:3]
    dyed = not np.allclose(colour, np.eye(3, 4), atol=1e-9)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = np.empty((len(frames), height, width, 3), np.uint8)
    for index, frame in enumerate(frames):
        picture = frame
        if moved:
            picture = cv2.warpAffine(picture, place, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        if dyed:
            picture = cv2.transform(picture, colour)
        out[index] = _worn(np.asarray(picture, np.uint8), drawn, first + index)
    return out


def to_source(drawn: Draw, source: tuple[int, ...], shown: tuple[int, int]) -> Matrix:
    """The affine map `[2, 3]` from pixels (x, y) of the shown picture to those of the source; sizes (height, width)."""
    (source_h, source_w), (shown_h, shown_w) = source, shown
    scale_x, scale_y = drawn.extent[0] * source_w / shown_w, drawn.extent[1] * source_h / shown_h
    mirror = -1.0 if drawn.flipped else 1.0
    cos, sin = math.cos(math.radians(drawn.rotate_deg)), math.sin(math.radians(drawn.rotate_deg))
    linear = np.array([[cos, sin], [-sin, cos]]) @ np.diag([mirror * scale_x, scale_y])
    # middles are mapped on each other; the middle of the first pixel lies at 0
    middle = np.array([drawn.centre[0] * source_w - 0.5, drawn.centre[1] * source_h - 0.5])
    offset = middle - linear @ np.array([(shown_w - 1) / 2, (shown_h - 1) / 2])
    return np.column_stack([linear, offset])


def colour_matrix(drawn: Draw) -> Matrix:
    """The affine map `[3, 4]` of B, G, R levels: hue and saturation, then contrast, then brightness."""
    grey = np.broadcast_to(_LUMA, (3, 3))
    linear = drawn.contrast * (drawn.saturation * (_turn(drawn.hue_deg) - grey) + grey)
    offset = (1.0 - drawn.contrast) * _GREY + 255.0 * drawn.brightness
    return np.column_stack([linear, np.full(3, offset)])


def _turn(degrees: float) -> Matrix:
    """A turn about the grey axis (Rodrigues' formula for the axis (1, 1, 1) / sqrt 3); grey stays grey."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cos * np.eye(3) + (1 - cos) / 3 + sin * cross


def _worn(picture: Frames, drawn: Draw, number: int) -> Frames:
    """Blur, noise and JPEG loss as this frame draws them."""
    if not (drawn.noise or drawn.blur or drawn.jpeg < 100):
        return picture
    import cv2  # noqa: PLC0415 - only what sees pictures needs it

    rng = np.random.default_rng((drawn.seed, number))
    sigma, quality = rng.uniform(0.0, drawn.blur), int(rng.integers(drawn.jpeg, 101))
    if sigma > 0.1:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    if drawn.noise:
        noisy = picture + rng.normal(0.0, drawn.noise, picture.shape)
        picture = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if drawn.jpeg < 100:
        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return picture
