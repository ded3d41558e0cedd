"""The figures of an evaluation: against values worked out by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from engines.evaluation import metrics
from engines.evaluation.metrics import Judged
from engines.evaluation.ranking import Ranking
from engines.evaluation.resampling import Resampling, Undefined


def judged(probabilities: list[list[float]], truth: list[int], group: list[int] | None = None) -> Judged:
    groups = np.array(group) if group is not None else np.arange(len(truth))
    return Judged(np.array(probabilities), np.array(truth), groups)


def ones(of: Judged) -> np.ndarray:
    return np.ones(int(of.group.max()) + 1)


@pytest.fixture(scope="module")
def many() -> Judged:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 400)
    logits = rng.normal(size=(400, 3)) + 1.2 * np.eye(3)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Judged(np.round(probabilities, 2), truth, rng.integers(0, 40, 400))


def test_decisions_counted_by_hand() -> None:
    four = judged([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]], [0, 0, 1, 1])
    assert metrics.accuracy(four)(ones(four)) == 0.75
    assert metrics.recall(four, 1)(ones(four)) == 0.5
    assert metrics.precision(four, 0)(ones(four)) == pytest.approx(2 / 3)
    assert metrics.confusion(four).tolist() == [[2, 0], [1, 1]]
    skewed = judged([[0.9, 0.1], [0.6, 0.4], [0.9, 0.1], [0.8, 0.2]], [0, 0, 0, 1])
    assert metrics.accuracy(skewed)(ones(skewed)) == 0.75
    assert metrics.balanced_accuracy(skewed)(ones(skewed)) == 0.5


def test_a_group_counts_as_often_as_it_is_drawn() -> None:
    two = judged([[0.9, 0.1], [0.6, 0.4], [0.9, 0.1]], [0, 0, 1], [0, 0, 1])
    assert metrics.accuracy(two)(np.array([1.0, 2.0])) == 0.5


def test_calibration_by_hand() -> None:
    sure = judged([[0.95, 0.05]] * 4, [0, 0, 0, 1])
    assert metrics.calibration_error(sure)(ones(sure)) == pytest.approx(0.2)
    assert metrics.brier(sure)(ones(sure)) == pytest.approx((3 * 2 * 0.05**2 + 2 * 0.95**2) / 4)
    honest = judged([[0.75, 0.25]] * 4, [0, 0, 0, 1])
    assert metrics.calibration_error(honest)(ones(honest)) == pytest.approx(0.0)


def test_rankings_are_those_of_scikit_learn(many: Judged) -> None:
    weights = np.random.default_rng(5).integers(0, 4, 400).astype(float)
    for label in range(3):
        positive, scores = many.truth == label, many.probabilities[:, label]
        ranking = Ranking(scores, positive)
        for used in (np.ones(400), weights):
            expected = reference.average_precision_score(positive, scores, sample_weight=used)
            assert ranking.average_precision(used) == pytest.approx(expected, abs=1e-12)
            expected = reference.roc_auc_score(positive, scores, sample_weight=used)
            assert ranking.auc(used) == pytest.approx(expected, abs=1e-12)
            balance = used[positive].sum() / used[~positive].sum()
            level = used * np.where(positive, 1.0, balance)
            expected = reference.average_precision_score(positive, scores, sample_weight=level)
            assert ranking.calibrated_average_precision(used) == pytest.approx(expected, abs=1e-12)


def test_decisions_are_those_of_scikit_learn(many: Judged) -> None:
    decided = many.probabilities.argmax(1)
    whole = ones(many)
    assert metrics.accuracy(many)(whole) == pytest.approx(reference.accuracy_score(many.truth, decided))
    expected = reference.balanced_accuracy_score(many.truth, decided)
    assert metrics.balanced_accuracy(many)(whole) == pytest.approx(expected)
    expected = np.mean([reference.average_precision_score(many.truth == k, many.probabilities[:, k]) for k in range(3)])
    assert metrics.mean_average_precision(many, range(3))(whole) == pytest.approx(expected)


def test_what_does_not_exist_is_not_zero() -> None:
    alone = judged([[0.9, 0.1], [0.6, 0.4]], [0, 0])
    for metric in (metrics.auc(alone), metrics.recall(alone, 1), metrics.mean_average_precision(alone, [0, 1])):
        with pytest.raises(Undefined):
            metric(ones(alone))
    figure = Resampling(["a", "b"]).figure(metrics.auc(alone))
    assert (figure.value, figure.low, figure.why) == (None, None, "one class only")
    three = judged([[0.5, 0.3, 0.2]] * 2, [0, 1])
    assert Resampling(["a", "b"]).figure(metrics.auc(three)).why == "defined for two labels"
    one_group = judged([[0.9, 0.1], [0.6, 0.4]], [0, 0], [0, 0])
    assert Resampling(["a", "a"]).figure(metrics.accuracy(one_group)).low is None


def test_thirds_by_frequency() -> None:
    assert metrics.thirds([0.1, 0.5, 0.05, 0.2, 0.05, 0.1]) == {"head": [1, 3], "mid": [0, 5], "tail": [2, 4]}


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Clips of one group are all right or all wrong: intervals by clip would be far too narrow."""
    rng = np.random.default_rng(11)
    held = 0
    for trial in range(120):
        right = np.repeat(rng.random(40) < 0.7, 5)
        probabilities = np.where(right[:, None], [[0.2, 0.8]], [[0.8, 0.2]])
        groups = [str(number) for number in np.repeat(np.arange(40), 5)]
        figure = metrics.clip_figures(probabilities, np.ones(200, int), groups, draws=200, seed=trial)["accuracy"]
        assert figure.low is not None
        held += figure.low <= 0.7 <= figure.high
    assert 0.86 <= held / 120 <= 1.0


def test_intervals_by_clip_are_too_narrow_where_groups_agree() -> None:
    right = np.repeat(np.random.default_rng(1).random(40) < 0.7, 5)
    probabilities = np.where(right[:, None], [[0.2, 0.8]], [[0.8, 0.2]])
    by_group = [str(number) for number in np.repeat(np.arange(40), 5)]
    by_clip = [str(number) for number in range(200)]
    wide, narrow = (
        metrics.clip_figures(probabilities, np.ones(200, int), groups)["accuracy"] for groups in (by_group, by_clip)
    )
    assert wide.high - wide.low > 1.8 * (narrow.high - narrow.low)


def test_draws_are_those_of_the_seed_and_differences_are_paired(many: Judged) -> None:
    groups = [str(group) for group in many.group]
    resampling = Resampling(groups, 100, seed=4)
    same = Judged(many.probabilities, many.truth, resampling.index)
    assert resampling.figure(metrics.accuracy(same)) == Resampling(groups, 100, 4).figure(metrics.accuracy(same))
    difference = resampling.difference(metrics.accuracy(same), metrics.accuracy(same))
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)
