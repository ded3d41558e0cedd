"""Stream mode against whole-sequence mode: the same probabilities step by step, and the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engines.evaluation.record import Agreement
from engines.evaluation.watching import Watched

LIMIT = 1e-4
"""Largest difference of a probability."""


def agree(
    watched: Sequence[Watched], streamed: Mapping[str, float | None], whole: Mapping[str, float | None]
) -> Agreement:
    """Compare the answers of every step, and the figures made of either."""
    pairs = [(each.alone, each.whole) for each in watched if each.whole is not None]
    largest = max(float(np.abs(alone.astype(np.float64) - again).max()) for alone, again in pairs)
    changed = sum(int((alone.argmax(1) != again.argmax(1)).sum()) for alone, again in pairs)
    apart = [_apart(value, whole[name]) for name, value in streamed.items()]
    return Agreement(
        compared=True,
        steps=sum(len(alone) for alone, _ in pairs),
        largest_difference=largest,
        within_limit=largest <= LIMIT,
        same_decisions=changed == 0,
        decisions_changed=changed,
        figures_equal=max(apart) <= LIMIT,
        largest_figure_difference=max(apart),
    )


def _apart(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else float("inf")
    return abs(one - other)
