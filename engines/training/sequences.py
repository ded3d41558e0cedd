"""What the recurrent part learns from: the features of one video in order, each step with its label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

UNLABELLED = -1


@dataclass(frozen=True)
class FeatureSequence:
    """F steps of one video.

    Attributes:
        name: what reports call it.
        group: what must not be divided between splits.
        features: floating point `[F, *features]`, as the encoder gives them.
        times_s: float64 `[F]`, media time of each step, rising.
        labels: int64 `[F]`, the index of each step's label, `UNLABELLED` where it has none.
    """

    name: str
    group: str
    features: npt.NDArray[np.floating[Any]]
    times_s: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times_s)
