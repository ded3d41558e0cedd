"""Beyond single figures: where a model is sure and right, and where it is surest and wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.evaluation import metrics
from engines.evaluation.record import Bin, Mistake
from engines.evaluation.units import Unit
from engines.evaluation.watching import Watched

MISTAKES = 8


def reliability(judged: metrics.Judged) -> list[Bin]:
    """Clips by their top probability, in 15 bins of equal width."""
    confidence = judged.probabilities.max(1)
    index = np.minimum((confidence * metrics.BINS).astype(np.int64), metrics.BINS - 1)
    bins = []
    for number in range(metrics.BINS):
        inside = index == number
        count = int(inside.sum())
        means = (float(confidence[inside].mean()), float(judged.right[inside].mean())) if count else (None, None)
        bins.append(Bin(number / metrics.BINS, (number + 1) / metrics.BINS, count, *means))
    return bins


def mistakes(
    units: Sequence[Unit], judged: metrics.Judged, watched: Sequence[Watched], labels: tuple[str, ...]
) -> list[Mistake]:
    """The clips that the model was surest about and wrong."""
    wrong = np.flatnonzero(~judged.right)
    order = wrong[np.argsort(-judged.probabilities[wrong].max(1), kind="stable")][:MISTAKES]
    return [
        Mistake(
            str(watched[units[i].video].video.path),
            round(units[i].start_s, 3),
            round(units[i].end_s, 3),
            labels[units[i].label],
            labels[int(judged.decided[i])],
            round(float(judged.probabilities[i].max()), 4),
            round(float(judged.probabilities[i, units[i].label]), 4),
        )
        for i in order.tolist()
    ]
