"""The result of a sweep as one record."""

from __future__ import annotations

import msgspec

from engines.evaluation.resampling import Figure


class Trained(msgspec.Struct, frozen=True):
    """One combination: figures on clips that it did not learn from, with the best simple baseline beside them.

    `ranked` is AUC with two labels and macro mAP with more; `left_out` are options of the recipe that the family does
    not have.
    """

    family: str
    size: int
    frames: int
    accuracy: Figure
    ranked: Figure
    baseline_accuracy: Figure
    clips: int
    groups: int
    left_out: tuple[str, ...] = ()


class Timing(msgspec.Struct, frozen=True):
    """Median milliseconds of one frame of one camera."""

    family: str
    size: int
    encoder_ms: float
    step_ms: float

    @property
    def total_ms(self) -> float:
        """Encoder and step together."""
        return self.encoder_ms + self.step_ms


class Sweep(msgspec.Struct, frozen=True):
    """All combinations, and the timings, which were taken in turns in one run."""

    recipe: str
    data: str
    judged: str
    fps: float
    labels: tuple[str, ...]
    backend: str
    rows: tuple[Trained, ...]
    timings: tuple[Timing, ...]

    def timing(self, row: Trained) -> Timing:
        """What a frame of this row's model costs."""
        return next(each for each in self.timings if (each.family, each.size) == (row.family, row.size))
