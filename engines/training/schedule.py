"""The learning rate over a training: a short rise, then half a cosine."""

from __future__ import annotations

import math

RISE = 0.05
"""The share of all steps in which the rate rises from zero."""


def cosine(peak: float, step: int, steps: int) -> float:
    """The rate at `step` of `steps`; Loshchilov & Hutter 2017 (arXiv 1608.03983) with a linear start."""
    share = (step + 1) / max(steps, 1)
    if share < RISE:
        return peak * share / RISE
    return peak * max(0.01, 0.5 * (1.0 + math.cos(math.pi * (share - RISE) / (1.0 - RISE))))
