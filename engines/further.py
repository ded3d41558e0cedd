"""Further inputs beside the video: how one vector holds a step's features, their values and whether they are there.

The step of a model with further inputs reads the encoder's vector, then of each input, in the manifest's order, its
values and one flag: 1 where there is a sample, 0 where there is none (the values are 0 then, and nobody reads them).
So every back end has one input `features`, whatever the model fuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class FurtherInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input: `size` values a step; a sample older than `max_age_s` at a frame's capture is no sample."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    size: Annotated[int, msgspec.Meta(ge=1, le=65536)]
    max_age_s: Annotated[float, msgspec.Meta(gt=0)] = 1.0


def width(further: Sequence[FurtherInput]) -> int:
    """How many numbers of a step's vector the inputs take: their sizes and one flag each."""
    return sum(each.size + 1 for each in further)


def step_shape(features: tuple[int, ...], further: Sequence[FurtherInput]) -> tuple[int, ...]:
    """The shape of what a step reads of one frame: `features` itself where nothing comes beside it.

    Raises:
        ValueError: there are further inputs, and `features` is no vector.
    """
    if not further:
        return features
    if len(features) != 1:
        raise ValueError(f"further inputs go beside a vector of features, found {list(features)}")
    return (features[0] + width(further),)


def pack(
    features: Vector, samples: Sequence[Sequence[Vector | None]], further: Sequence[FurtherInput]
) -> NDArray[np.float32]:
    """What N steps read: features `[N, D]` and of each row the sample of each input, `[size]` or None where missing."""
    packed = without(features, further)
    for row, of_row in zip(packed, samples, strict=True):
        at = features.shape[1]
        for each, sample in zip(further, of_row, strict=True):
            if sample is not None:
                row[at : at + each.size] = sample
                row[at + each.size] = 1.0
            at += each.size + 1
    return packed


def without(features: Vector, further: Sequence[FurtherInput]) -> NDArray[np.float32]:
    """Features `[..., D]` as a step reads them where every further input is missing; a copy unless there are none."""
    if not further:
        return features
    nothing = np.zeros((*features.shape[:-1], width(further)), np.float32)
    return np.concatenate([features, nothing], axis=-1, dtype=np.float32)
