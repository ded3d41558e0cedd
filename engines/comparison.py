"""How two runs of one model are compared: one record per check, and a report that passes when all of them do."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.engine import Array

ALONE = "each alone"  # each camera or picture by itself, on the same back end
FLOAT64 = "float64"  # the ONNX project's reference evaluator
TRAINER = "trainer"  # what the trainer's network gave for a whole sequence
STEP_LIMIT = 1e-4  # float32 against float32 or float64, over thousands of steps


class Check(msgspec.Struct, frozen=True):
    """One comparison. `max_difference` is over probabilities and logits (or features), relative where those exceed 1.

    A control (`must_differ`) passes when the difference is *above* the limit: it shows that the comparison can see.
    """

    check: str
    backend: str
    against: str
    max_difference: float
    limit: float
    decisions: int  # how many answers were compared; 0 for features
    decisions_changed: int
    must_differ: bool
    passed: bool
    note: str = ""
    optional: bool = False  # a lower precision that nobody named: where it is too coarse it is just not used


class VerifyReport(msgspec.Struct, frozen=True):
    """What `verify` found for one bundle."""

    bundle: str
    version: str
    sha: str
    steps: int
    cameras: int
    seed: int
    checks: tuple[Check, ...]
    not_compared: tuple[str, ...]  # what could not be compared here and why, one sentence each
    passed: bool


@dataclass(frozen=True)
class Answers:
    """Predictions of some steps, in any common order: prob and logits `[M, labels]`."""

    prob: NDArray[np.float64]
    logits: NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """The part of a check that says what was compared."""

    check: str
    backend: str
    against: str
    must_differ: bool = False


def compare_answers(row: Row, found: Answers, expected: Answers, limit: float = STEP_LIMIT) -> Check:
    """Compare predictions; a decision is the most probable label."""
    worst = max(difference(found.prob, expected.prob), difference(found.logits, expected.logits))
    changed = int((found.prob.argmax(-1) != expected.prob.argmax(-1)).sum())
    return _check(row, worst, limit, len(expected.prob), changed)


def compare_features(row: Row, found: Array, expected: Array, limit: float = STEP_LIMIT) -> Check:
    """Compare encoder outputs."""
    return _check(row, difference(found, expected), limit, 0, 0)


def failed(row: Row, note: str, limit: float = STEP_LIMIT) -> Check:
    """A check that could not even be computed."""
    return Check(
        row.check, row.backend, row.against, float("inf"), limit, 0, 0, row.must_differ, passed=False, note=note
    )


def difference(found: Array, expected: Array) -> float:
    """The largest `|found - expected| / max(1, |expected|)`; infinite where either is not finite."""
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    gap = np.abs(found.astype(np.float64) - expected) / np.maximum(1.0, np.abs(expected))
    return float(gap.max(initial=0.0))


def _check(row: Row, worst: float, limit: float, decisions: int, changed: int) -> Check:
    passed = limit < worst < float("inf") if row.must_differ else worst <= limit
    return Check(row.check, row.backend, row.against, worst, limit, decisions, changed, row.must_differ, passed=passed)
