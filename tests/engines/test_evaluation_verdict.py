"""The verdict against baselines: better only where it is sure, worse where behind, none where one label occurs."""

from __future__ import annotations

import numpy as np

from engines.evaluation.metrics import Judged
from engines.evaluation.resampling import Resampling
from engines.evaluation.verdict import compare


def judged(right: np.ndarray, truth: np.ndarray, sampling: Resampling) -> Judged:
    """Decisions that are right where `right` says so."""
    said = np.where(right, truth, 1 - truth)
    sure = np.linspace(0.6, 0.9, len(truth))
    scores = np.where(said[:, None] == np.arange(2), sure[:, None], 1 - sure[:, None])
    return Judged(scores, truth, sampling.index)


def verdict(ours: float, theirs: float, *, labels: int = 2, count: int = 400) -> tuple[str, str]:
    truth = np.arange(count) % labels
    sampling = Resampling([f"g{index // 4}" for index in range(count)], 200)
    rng = np.random.default_rng(0)
    model, simple = (judged(rng.random(count) < share, truth, sampling) for share in (ours, theirs))
    found = compare(model, {"simple": simple}, sampling)
    return found.verdict, found.sentence


def test_better_worse_and_not_shown() -> None:
    assert verdict(0.95, 0.7)[0] == "better"
    assert verdict(0.6, 0.9)[0] == "worse"
    assert verdict(0.75, 0.7, count=40)[0] in ("not shown", "worse")


def test_with_one_label_nothing_is_compared() -> None:
    assert verdict(0.6, 0.8, labels=1) == (
        "not compared", "Not compared with baselines: only one label occurs in these data."
    )  # fmt: skip
