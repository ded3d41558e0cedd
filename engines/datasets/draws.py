"""What augmentation may do to a clip, and one draw of it: geometry, colour and speed for the whole clip."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import numpy as np

from engines.datasets.naming import check_label
from engines.errors import DataError

Strength = Annotated[float, msgspec.Meta(ge=0, lt=1)]

_SIDED = re.compile(r"(?<![a-z])(left|right)(?![a-z])")


class Augmentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a clip may be changed without its label changing; by default not at all.

    Attributes:
        flip: mirror half of the clips.
        flip_pairs: labels that become each other in the mirror, such as `[turn_left, turn_right]`.
        crop: least share of the picture's area that is shown, at a random place.
        aspect: largest factor by which width to height is stretched either way.
        rotate_deg: largest turn either way.
        brightness: largest shift, as a share of full scale.
        contrast: largest change of the spread about mid-grey, as a share.
        saturation: largest change of the distance from grey, as a share.
        hue_deg: largest turn of the colour circle.
        time_stretch: largest change of speed, as a share: 0.2 plays at 1/1.2 to 1.2 of it.
        noise: largest standard deviation of noise, in levels of 255; each frame draws its own noise.
        blur: largest standard deviation of a Gaussian blur in pixels, drawn for each frame.
        jpeg: least JPEG quality, drawn for each frame; 100 for no loss.
    """

    flip: bool = False
    flip_pairs: tuple[tuple[str, str], ...] = ()
    crop: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    aspect: Annotated[float, msgspec.Meta(ge=1, le=3)] = 1.0
    rotate_deg: Annotated[float, msgspec.Meta(ge=0, le=180)] = 0.0
    brightness: Strength = 0.0
    contrast: Strength = 0.0
    saturation: Strength = 0.0
    hue_deg: Annotated[float, msgspec.Meta(ge=0, le=180)] = 0.0
    time_stretch: Strength = 0.0
    noise: Annotated[float, msgspec.Meta(ge=0, le=128)] = 0.0
    blur: Annotated[float, msgspec.Meta(ge=0, le=16)] = 0.0
    jpeg: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100


@dataclass(frozen=True)
class Draw:
    """What happens to one clip; the defaults change nothing.

    Attributes:
        flipped: whether the clip is mirrored.
        swapped: for each label's index the index it has in the mirror; empty where none changes.
        centre: x and y of the shown part's middle, as shares of the picture.
        extent: width and height of the shown part, as shares.
        rotate_deg: turn of the shown part about its middle, clockwise.
        brightness: shift in shares of full scale.
        contrast: factor on the distance from mid-grey.
        saturation: factor on the distance from grey.
        hue_deg: turn of the colour circle.
        speed: above 1 the clip plays faster.
        noise, blur, jpeg: as in `Augmentation`; each frame draws within them.
        seed: of the frames' own draws.
    """

    flipped: bool = False
    swapped: tuple[int, ...] = ()
    centre: tuple[float, float] = (0.5, 0.5)
    extent: tuple[float, float] = (1.0, 1.0)
    rotate_deg: float = 0.0
    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue_deg: float = 0.0
    speed: float = 1.0
    noise: float = 0.0
    blur: float = 0.0
    jpeg: int = 100
    seed: int = field(default=0, compare=False)

    def label(self, index: int) -> int:
        """The label that a step labelled `index` has after this draw; negative ones (no label) stay."""
        return self.swapped[index] if self.flipped and self.swapped and index >= 0 else index


def check_augmentation(augmentation: Augmentation, labels: Sequence[str]) -> None:
    """Refuse pairs of labels that are none, and a mirror for classes named left or right that have no pair.

    Raises:
        DataError: it names the class and the fix.
    """
    paired = [label for pair in augmentation.flip_pairs for label in pair]
    for label in paired:
        check_label(label, labels, "flip_pairs")
    twice = next((label for label in paired if paired.count(label) > 1), None)
    if twice is not None:
        raise DataError(f"flip_pairs names {twice!r} twice: each label has one mirror image")
    sided = next((label for label in labels if label not in paired and _SIDED.search(label.lower())), None)
    if augmentation.flip and sided is not None:
        raise DataError(
            f"the mirror image of {sided!r} has another label: name it in flip_pairs, such as "
            "[[turn_left, turn_right]], or set flip to false"
        )


def draw(augmentation: Augmentation, rng: np.random.Generator, labels: Sequence[str]) -> Draw:
    """One draw for a whole clip; the same `rng` gives the same."""
    area = rng.uniform(augmentation.crop, 1.0)
    stretch = math.sqrt(_factor(rng, augmentation.aspect - 1.0))
    width, height = min(1.0, math.sqrt(area) * stretch), min(1.0, math.sqrt(area) / stretch)
    centre = (rng.uniform(width / 2, 1 - width / 2), rng.uniform(height / 2, 1 - height / 2))
    return Draw(
        flipped=bool(rng.random() < 0.5) and augmentation.flip,
        swapped=_swapped(augmentation.flip_pairs, labels),
        centre=centre,
        extent=(width, height),
        rotate_deg=_either_way(rng, augmentation.rotate_deg),
        brightness=_either_way(rng, augmentation.brightness),
        contrast=_factor(rng, augmentation.contrast),
        saturation=1.0 + _either_way(rng, augmentation.saturation),
        hue_deg=_either_way(rng, augmentation.hue_deg),
        speed=_factor(rng, augmentation.time_stretch),
        noise=rng.uniform(0.0, augmentation.noise),
        blur=augmentation.blur,
        jpeg=augmentation.jpeg,
        seed=int(rng.integers(1 << 62)),
    )


def _swapped(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> tuple[int, ...]:
    mirror = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
    return tuple(labels.index(mirror.get(label, label)) for label in labels) if pairs else ()


def _either_way(rng: np.random.Generator, most: float) -> float:
    return float(rng.uniform(-most, most))


def _factor(rng: np.random.Generator, most: float) -> float:
    """Between `1 / (1 + most)` and `1 + most`, as often below 1 as above."""
    return math.exp(_either_way(rng, math.log1p(most)))
