"""How good a network is on videos that it did not learn from, with simple baselines and intervals beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.evaluation.baselines import Baselines
from engines.evaluation.metrics import Judged, accuracy, auc, clip_figures
from engines.evaluation.resampling import Figure, Metric, Resampling
from engines.manifest import ClipRule
from engines.training.answers import Answers, ClipScores, clip_scores, runs
from engines.training.sequences import FeatureSequence

Scores = NDArray[np.floating[Any]]

DRAWS = 1000

SHOWN = {"accuracy": "clip accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC", "map": "macro mAP",
         "ece": "calibration error", "brier": "Brier score"}  # fmt: skip
"""The figures of a judgement and what people call them."""


@dataclass(frozen=True)
class Judgement:
    """Held-out clips as a network and the baselines score them.

    Attributes:
        where: on what it was judged, in words.
        clips: number of clips.
        groups: number of their groups.
        figures: of the network, by the names in `SHOWN`.
        baselines: the same of each baseline.
        gains: accuracy, and AUC of two labels, of the network minus those of the baseline that is best at it, paired.
        rivals: which baseline that was.
    """

    where: str
    clips: int
    groups: int
    figures: dict[str, Figure]
    baselines: dict[str, dict[str, Figure]]
    gains: dict[str, Figure]
    rivals: dict[str, str]

    @property
    def verdict(self) -> str:
        """A warning where the network does not beat the best baseline for certain; empty where it does."""
        for name, gain in self.gains.items():
            if gain.value is None or (gain.low if gain.low is not None else gain.value) <= 0.0:
                return (
                    f"It does not beat the simple baseline '{self.rivals[name]}' for certain: {SHOWN[name]} "
                    f"{shown(self.figures[name])} against {shown(self.baselines[self.rivals[name]][name])}, "
                    f"difference {shown(gain)}."
                )
        return ""


def judge(
    where: str,
    answers: Answers,
    sequences: Sequence[FeatureSequence],
    simple: Sequence[dict[str, NDArray[np.float64]]],
    clip: ClipRule,
    *,
    temperature: float,
    warm_up_s: float,
    seed: int,
) -> Judgement:
    """Figures of held-out sequences: `answers` are the network's logits, `simple` what baselines say of each clip."""
    found = clip_scores(answers, sequences, clip.aggregate, temperature=temperature, warm_up_s=warm_up_s)
    figures = _figures(found.scores, found, seed)
    tables = {name: np.stack([each[name] for each in simple]) for name in (simple[0] if simple else ())}
    baselines = {name: _figures(table, found, seed) for name, table in tables.items()}
    gains, rivals = {}, {}
    for name, metric in (("accuracy", accuracy), ("auc", auc)):
        values = {rival: made[name].value for rival, made in baselines.items() if made[name].value is not None}
        if values and figures[name].value is not None:
            best = max(values, key=lambda rival: values[rival] or 0.0)
            resampling = Resampling(found.groups, DRAWS, seed)
            ours, theirs = (_metric(metric, table, found, resampling) for table in (found.scores, tables[best]))
            gains[name], rivals[name] = resampling.difference(ours, theirs), best
    return Judgement(where, len(found), len(set(found.groups)), figures, baselines, gains, rivals)


def simple_scores(baselines: Baselines, sequences: Sequence[FeatureSequence]) -> list[dict[str, NDArray[np.float64]]]:
    """What each baseline says of every clip, in the order of `clip_scores`."""
    return [
        baselines.predict(sequence.features[start:end])
        for sequence in sequences
        for start, end in runs(sequence.labels)
    ]


def shown(figure: Figure) -> str:
    """`0.812 (0.755 to 0.869)`, or why there is none."""
    if figure.value is None:
        return f"undefined ({figure.why})"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _figures(scores: Scores, clips: ClipScores, seed: int) -> dict[str, Figure]:
    return clip_figures(np.asarray(scores, np.float64), clips.truth, clips.groups, draws=DRAWS, seed=seed)


def _metric(metric: Callable[[Judged], Metric], scores: Scores, clips: ClipScores, resampling: Resampling) -> Metric:
    return metric(Judged(np.asarray(scores, np.float64), clips.truth, resampling.index))
