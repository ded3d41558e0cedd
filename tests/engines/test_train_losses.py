"""Losses against values written by hand from their papers' formulas."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from engines.training.losses import BALANCE, StepLoss  # noqa: E402

LOGITS = [[[2.0, 0.0], [0.0, 1.0]]]
LABELS = [[0, 0]]
COUNTS = [900, 100]


def losses(name: str, **options: float) -> list[float]:
    loss = StepLoss(name, COUNTS, **options)  # type: ignore[arg-type]
    return [float(value) for value in loss(torch.tensor(LOGITS), torch.tensor(LABELS))[0]]


def doubt(own: float, other: float) -> float:
    return math.log1p(math.exp(other - own))


def test_cross_entropy_is_minus_the_log_of_the_true_probability() -> None:
    assert losses("cross_entropy") == pytest.approx([doubt(2, 0), doubt(0, 1)], rel=1e-5)


def test_label_smoothing_gives_every_label_a_share() -> None:
    smooth = [0.95 * doubt(2, 0) + 0.05 * doubt(0, 2), 0.95 * doubt(0, 1) + 0.05 * doubt(1, 0)]
    assert losses("cross_entropy", label_smoothing=0.1) == pytest.approx(smooth, rel=1e-5)


def test_logit_adjusted_adds_the_log_of_the_prior() -> None:
    head, tail = math.log(0.9), math.log(0.1)
    expected = [doubt(2 + head, tail), doubt(head, 1 + tail)]
    assert losses("logit_adjusted") == pytest.approx(expected, rel=1e-5)


def test_class_balanced_weighs_by_the_effective_number() -> None:
    rare = (1 - BALANCE) / (1 - BALANCE**100)
    frequent = (1 - BALANCE) / (1 - BALANCE**900)
    weight = frequent / ((rare + frequent) / 2)
    assert losses("class_balanced") == pytest.approx([weight * doubt(2, 0), weight * doubt(0, 1)], rel=1e-4)
    assert weight < 0.25


def test_focal_forgives_what_is_sure_already() -> None:
    sure, unsure = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))
    expected = [(1 - sure) ** 2 * doubt(2, 0), (1 - unsure) ** 2 * doubt(0, 1)]
    assert losses("focal") == pytest.approx(expected, rel=1e-5)


def test_a_label_that_never_occurs_leaves_the_others_finite() -> None:
    for name in ("logit_adjusted", "class_balanced"):
        each = StepLoss(name, [5, 0])(torch.zeros(1, 2), torch.tensor([0]))  # type: ignore[arg-type]
        assert torch.isfinite(each).all()
