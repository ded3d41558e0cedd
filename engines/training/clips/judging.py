"""How good a network is on videos that it did not learn from, with simple baselines and intervals beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.evaluation.baselines import Baselines
from engines.evaluation.metrics import Judged, clip_metrics
from engines.evaluation.record import Comparison
from engines.evaluation.resampling import Figure, Resampling
from engines.evaluation.verdict import compare
from engines.manifest import ClipRule
from engines.training.answers import Answers, clip_scores, runs
from engines.training.sequences import FeatureSequence

DRAWS = 1000

SHOWN = {"accuracy": "clip accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC", "map": "macro mAP",
         "ece": "calibration error", "brier": "Brier score"}  # fmt: skip
"""The figures of a judgement and what people call them."""

Simple = Mapping[str, NDArray[np.float64]]
"""By the baseline's name its probabilities of each clip, `[clips, labels]`."""


@dataclass(frozen=True)
class Judgement:
    """Held-out clips as a network and the baselines score them.

    Attributes:
        where: on what it was judged, in words.
        clips: number of clips.
        groups: number of their groups.
        figures: of the network, by the names in `SHOWN`.
        baselines: the same of each baseline.
        comparison: the network against the best of them.
    """

    where: str
    clips: int
    groups: int
    figures: dict[str, Figure]
    baselines: dict[str, dict[str, Figure]]
    comparison: Comparison

    @property
    def warning(self) -> str:
        """A sentence where the network is not better than the best baseline for certain; empty where it is."""
        return "" if self.comparison.verdict == "better" else self.comparison.sentence


def judge(
    where: str,
    answers: Answers,
    sequences: Sequence[FeatureSequence],
    simple: Simple,
    clip: ClipRule,
    *,
    temperature: float,
    warm_s: float,
    seed: int,
) -> Judgement:
    """Figures of held-out sequences: `answers` are the network's logits, `simple` what baselines say of each clip."""
    found = clip_scores(answers, sequences, clip.aggregate, temperature=temperature, warm_s=warm_s)
    resampling = Resampling(found.groups, DRAWS, seed)
    model = Judged(found.scores.astype(np.float64), found.truth, resampling.index)
    others = {name: Judged(table, found.truth, resampling.index) for name, table in simple.items()}
    baselines = {name: _figures(judged, resampling) for name, judged in others.items()}
    comparison = compare(model, others, resampling)
    return Judgement(where, len(found), len(resampling.names), _figures(model, resampling), baselines, comparison)


def simple_scores(baselines: Baselines, sequences: Sequence[FeatureSequence]) -> dict[str, NDArray[np.float64]]:
    """What each baseline says of every clip, in the order of `clip_scores`."""
    said = [
        baselines.predict(sequence.features[start:end])
        for sequence in sequences
        for start, end in runs(sequence.labels)
    ]
    return {name: np.stack([each[name] for each in said]) for name in baselines.models}


def shown(figure: Figure) -> str:
    """`0.812 (0.755 to 0.869)`, or why there is none."""
    if figure.value is None:
        return f"undefined ({figure.why})"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _figures(judged: Judged, resampling: Resampling) -> dict[str, Figure]:
    return {name: resampling.figure(metric) for name, metric in clip_metrics(judged).items()}
