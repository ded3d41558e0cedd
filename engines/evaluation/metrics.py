"""Figures of decisions: probabilities beside what was true, of clips or of single frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engines.evaluation.ranking import Ranking
from engines.evaluation.resampling import Figure, Metric, Resampling, Undefined, Weights

BINS = 15


@dataclass(frozen=True)
class Judged:
    """N decisions.

    Attributes:
        probabilities: floating `[N, C]`, rows that sum to 1.
        truth: int64 `[N]`, index of the true label.
        group: int64 `[N]`, index of the group that each belongs to, as in `Resampling.names`.
    """

    probabilities: NDArray[np.float64]
    truth: NDArray[np.int64]
    group: NDArray[np.int64]

    @cached_property
    def decided(self) -> NDArray[np.int64]:
        """Index of the most probable label, `[N]`."""
        return np.asarray(self.probabilities.argmax(1), np.int64)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether each decision is right, `[N]`."""
        return np.asarray(self.decided == self.truth, np.bool_)

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """For each label the ranking by its probability, `C` of them."""
        return tuple(Ranking(column, self.truth == index) for index, column in enumerate(self.probabilities.T))

    def weights(self, of_groups: Weights) -> Weights:
        """Weight of each decision from the weight of each group."""
        weights = of_groups[self.group]
        if not weights.sum():
            raise Undefined("nothing to judge")
        return weights


def accuracy(judged: Judged) -> Metric:
    """Right decisions per decision (top-1)."""
    return lambda groups: _mean(judged.right, judged.weights(groups))


def recall(judged: Judged, label: int) -> Metric:
    """Of the decisions where `label` was true, how many said so."""
    return _share(judged, judged.truth == label, "the label does not occur")


def precision(judged: Judged, label: int) -> Metric:
    """Of the decisions for `label`, how many are right."""
    return _share(judged, judged.decided == label, "the label was never decided for")


def balanced_accuracy(judged: Judged, labels: Sequence[int] | None = None) -> Metric:
    """Mean recall over the labels (all, or those given) that occur."""
    count = judged.probabilities.shape[1]
    chosen = list(range(count)) if labels is None else list(labels)

    def metric(groups: Weights) -> float:
        weights = judged.weights(groups)
        total = np.bincount(judged.truth, weights, count)[chosen]
        right = np.bincount(judged.truth, weights * judged.right, count)[chosen]
        if not total.any():
            raise Undefined("none of the labels occurs")
        return float(np.mean(right[total > 0] / total[total > 0]))

    return metric


def auc(judged: Judged) -> Metric:
    """Area under the ROC curve of the second of two labels."""

    def metric(groups: Weights) -> float:
        if judged.probabilities.shape[1] != 2:
            raise Undefined("defined for two labels")
        return judged.rankings[1].auc(judged.weights(groups))

    return metric


def mean_average_precision(judged: Judged, labels: Sequence[int], *, calibrated: bool = False) -> Metric:
    """Macro mean of average precision (or cAP) over those labels that occur beside others."""

    def metric(groups: Weights) -> float:
        weights = judged.weights(groups)
        values = []
        for label in labels:
            ranking = judged.rankings[label]
            score = ranking.calibrated_average_precision if calibrated else ranking.average_precision
            try:
                values.append(score(weights))
            except Undefined:
                continue
        if not values:
            raise Undefined("one class only")
        return float(np.mean(values))

    return metric


def calibration_error(judged: Judged) -> Metric:
    """Expected calibration error: 15 bins of equal width over the top probability (Guo 2017, arXiv 1706.04599)."""
    confidence = judged.probabilities.max(1)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)

    def metric(groups: Weights) -> float:
        weights = judged.weights(groups)
        gap = np.bincount(bins, weights * (judged.right - confidence), BINS)
        return float(np.abs(gap).sum() / weights.sum())

    return metric


def brier(judged: Judged) -> Metric:
    """Mean squared distance of the probabilities from the truth, summed over labels (Brier 1950): 0 to 2."""
    truth = np.eye(judged.probabilities.shape[1])[judged.truth]
    distance = ((judged.probabilities - truth) ** 2).sum(1)
    return lambda groups: _mean(distance, judged.weights(groups))


def confusion(judged: Judged) -> NDArray[np.int64]:
    """Counts `[C, C]`: rows are true, columns decided."""
    count = judged.probabilities.shape[1]
    return np.bincount(judged.truth * count + judged.decided, minlength=count * count).reshape(count, count)


def thirds(frequency: Sequence[float]) -> dict[str, list[int]]:
    """Labels as `head`, `mid` and `tail` by how frequent they were in training, in parts as equal as can be."""
    order = np.argsort(-np.asarray(frequency), kind="stable")
    return dict(zip(("head", "mid", "tail"), (part.tolist() for part in np.array_split(order, 3)), strict=True))


def clip_figures(
    probabilities: NDArray[np.floating], truth: NDArray[np.int64], groups: Sequence[str], *, draws: int = 1000,
    seed: int = 0,
) -> dict[str, Figure]:  # fmt: skip
    """Accuracy, balanced accuracy, AUC, macro mAP, ECE and Brier of N clips, with intervals by group.

    Args:
        probabilities: `[N, C]`, rows that sum to 1.
        truth: int64 `[N]`, index of the true label.
        groups: N names of what each clip must not be divided from.
        draws: how many times groups are drawn.
        seed: of the draws.
    """
    resampling = Resampling(groups, draws, seed)
    judged = Judged(np.asarray(probabilities, np.float64), np.asarray(truth, np.int64), resampling.index)
    return {name: resampling.figure(metric) for name, metric in clip_metrics(judged).items()}


def clip_metrics(judged: Judged) -> dict[str, Metric]:
    """The metrics that model and baselines share, by name."""
    return {
        "accuracy": accuracy(judged),
        "balanced_accuracy": balanced_accuracy(judged),
        "auc": auc(judged),
        "map": mean_average_precision(judged, range(judged.probabilities.shape[1])),
        "ece": calibration_error(judged),
        "brier": brier(judged),
    }


def undefined(why: str) -> Metric:
    """A figure that does not exist, for a reason that is known beforehand."""

    def metric(_: Weights) -> float:
        raise Undefined(why)

    return metric


def _share(judged: Judged, asked: NDArray[np.bool_], why: str) -> Metric:
    def metric(groups: Weights) -> float:
        weights = judged.weights(groups) * asked
        if not weights.sum():
            raise Undefined(why)
        return _mean(judged.right, weights)

    return metric


def _mean(values: NDArray[np.floating] | NDArray[np.bool_], weights: Weights) -> float:
    return float(np.sum(values * weights) / weights.sum())
