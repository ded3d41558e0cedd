"""Figures of a ranking by score, sorted once and weighted often, as resampling asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.evaluation.resampling import Undefined, Weights


class Ranking:
    """N scores, and which of them are positive. Equal scores count as one threshold, as in scikit-learn.

    Weights `[N]` say how often each one counts. Every figure raises `Undefined` where positives or negatives lack.
    """

    def __init__(self, scores: ArrayLike, positive: ArrayLike) -> None:
        order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
        sorted_scores = np.asarray(scores, np.float64)[order]
        self._order, self._positive = order, np.asarray(positive, np.bool_)[order]
        # the last of each run of equal scores
        self._ends = np.append(np.flatnonzero(np.diff(sorted_scores)), len(order) - 1) if len(order) else order

    def average_precision(self, weights: Weights) -> float:
        """Sum over thresholds of precision times the gain in recall (scikit-learn's definition)."""
        true, false = self._counts(weights)
        return _area(true, false)

    def calibrated_average_precision(self, weights: Weights) -> float:
        """The same with negatives weighted to be as many as positives: cPrec = TP / (TP + FP / w), w = N- / N+.

        De Geest et al. 2016 (arXiv 1604.06506), cAP; it does not depend on how rare the positives are.
        """
        true, false = self._counts(weights)
        return _area(true, false * (true[-1] / false[-1]))

    def auc(self, weights: Weights) -> float:
        """The area under the ROC curve: how probably a positive scores above a negative."""
        true, false = self._counts(weights)
        true, false = np.append(0.0, true), np.append(0.0, false)
        return float(np.sum(np.diff(false) * (true[1:] + true[:-1])) / 2 / (true[-1] * false[-1]))

    def _counts(self, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """True and false positives at each threshold, from strict to lax."""
        weights = weights[self._order]
        if not weights[self._positive].sum() or not weights[~self._positive].sum():
            raise Undefined("one class only")
        true = np.cumsum(np.where(self._positive, weights, 0.0))[self._ends]
        false = np.cumsum(np.where(self._positive, 0.0, weights))[self._ends]
        return true, false


def _area(true: NDArray[np.float64], false: NDArray[np.float64]) -> float:
    seen = true + false
    precision = np.divide(true, seen, out=np.zeros_like(true), where=seen > 0)
    return float(np.sum(np.diff(true, prepend=0.0) * precision) / true[-1])
