"""Calibration: one temperature that makes the scores of clips as sure as they are right."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.training.answers import Answers, ClipScores, clip_scores
from engines.training.sequences import FeatureSequence

LOWEST, HIGHEST = 0.2, 10.0
ROUNDS = 40
_SHRINK = (math.sqrt(5.0) - 1.0) / 2.0


def fit_temperature(answers: Answers, sequences: Sequence[FeatureSequence], how: str, *, warm_s: float = 0.0) -> float:
    """The temperature with the least negative log-likelihood of held-out clips, between 0.2 and 10.

    Guo et al. 2017 (arXiv 1706.04599) divide the logits of one decision; here the decision is the clip's score, which
    is what subscribers get, so the steps are aggregated first. Where few clips are all right, nothing would stop the
    scores from becoming certain, so with n clips of a label its target is (n + 1) / (n + 2) (Platt 1999).
    Golden-section search over the logarithm (Kiefer 1953).
    """
    targets = _targets(clip_scores(answers, sequences, how))

    def doubt(log_t: float) -> float:
        clips = clip_scores(answers, sequences, how, temperature=math.exp(log_t), warm_s=warm_s)
        return float(-(targets * np.log(np.maximum(clips.scores, 1e-12))).sum(1).mean())

    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(ROUNDS):
        span = _SHRINK * (high - low)
        if doubt(high - span) <= doubt(low + span):
            high = low + span
        else:
            low = high - span
    return float(math.exp((low + high) / 2.0))


def _targets(clips: ClipScores) -> NDArray[np.float64]:
    """Smoothed targets `[N, labels]`."""
    labels = clips.scores.shape[1]
    counts = np.bincount(clips.truth, minlength=labels)
    sure = ((counts + 1) / (counts + 2))[clips.truth]
    targets = np.repeat(((1 - sure) / max(1, labels - 1))[:, None], labels, 1)
    targets[np.arange(len(clips)), clips.truth] = sure
    return targets
