"""Whether the model is better than the best simple baseline, in one sentence that a report can begin with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engines.evaluation.metrics import Judged, clip_metrics
from engines.evaluation.record import Comparison, Verdict
from engines.evaluation.resampling import Figure, Metric, Resampling, Undefined

NAMES = {"accuracy": "accuracy", "auc": "AUC", "map": "macro mAP"}


def compare(model: Judged, baselines: Mapping[str, Judged], resampling: Resampling) -> Comparison:
    """The model against the best baseline in accuracy, and in AUC (two labels) or macro mAP (more).

    Where only one label occurs nothing is compared: whoever always says that label would win.
    """
    if len(np.unique(model.truth)) < 2:
        return Comparison("not compared", f"{_opening('not compared')}: only one label occurs in these data.", {}, {})
    ranked = "auc" if model.probabilities.shape[1] == 2 else "map"
    ours = clip_metrics(model)
    theirs = {name: clip_metrics(judged) for name, judged in baselines.items()}
    against, differences, said = {}, {}, []
    for metric in ("accuracy", ranked):
        best = _best({name: metrics[metric] for name, metrics in theirs.items()}, len(resampling.names))
        difference = resampling.difference(ours[metric], theirs[best][metric])
        if difference.value is None:
            continue
        against[metric], differences[metric] = best, difference
        values = [resampling.figure(each).value for each in (ours[metric], theirs[best][metric])]
        said.append(f"{NAMES[metric]} {values[0]:.3f} against {values[1]:.3f} ({best}; difference {_text(difference)})")
    verdict = judge(list(differences.values()))
    return Comparison(verdict, f"{_opening(verdict)}: {'; '.join(said)}.", against, differences)


def judge(differences: list[Figure]) -> Verdict:
    """`better`: ahead everywhere and surely so somewhere; `worse`: behind somewhere; else `not shown`."""
    values = [each.value for each in differences if each.value is not None]
    if not values:
        return "not compared"
    if min(values) < 0 or max(values) <= 0:
        return "worse"
    return "better" if any(each.low is not None and each.low > 0 for each in differences) else "not shown"


def _opening(verdict: Verdict) -> str:
    return {
        "better": "Better than the best simple baseline",
        "worse": "THE MODEL DOES NOT BEAT THE BEST SIMPLE BASELINE",
        "not shown": "IT IS NOT SHOWN THAT THE MODEL BEATS THE BEST SIMPLE BASELINE",
        "not compared": "Not compared with baselines",
    }[verdict]


def _best(metrics: Mapping[str, Metric], groups: int) -> str:
    def value(name: str) -> float:
        try:
            return metrics[name](np.ones(groups))
        except Undefined:
            return -1.0

    return max(metrics, key=value)


def _text(difference: Figure) -> str:
    text = f"{difference.value:+.3f}"
    return text if difference.low is None else f"{text}, 95 % interval {difference.low:+.3f} to {difference.high:+.3f}"
