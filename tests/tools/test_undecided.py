"""A figure over its limit that the machine may have caused: neither a pass nor a fault of vidpipe."""

from __future__ import annotations

import os

import pytest
from faults.pauses import Pauses
from faults.verdict import Checks


@pytest.mark.parametrize(
    ("gap", "excuse", "verdict"),
    [(2.0, "", "pass"), (3.0, "", "fail"), (2.0, "it was busy", "pass"), (3.0, "it was busy", "not run")],
)
def test_an_excuse_leaves_undecided_what_would_fail_and_no_more(gap: float, excuse: str, verdict: str) -> None:
    checks = Checks()
    checks.at_most("largest gap", gap, 2.0, "frame times", excuse=excuse)
    finding = checks.finding()
    assert finding.verdict == verdict
    assert ("it was busy" in finding.measured) == (verdict == "not run")


def test_an_excuse_covers_no_other_fault() -> None:
    checks = Checks()
    checks.at_most("largest gap", 3.0, 2.0, "frame times", excuse="it was busy")
    checks.equal("messages lost", 1, 0)
    assert checks.finding().verdict == "fail"
    never = Checks()
    never.at_most("frames again after", None, 3.0, excuse="it was busy")
    assert never.finding().verdict == "fail"


def test_the_worst_second_adds_up_what_all_threads_waited_within_it() -> None:
    pauses = Pauses(os.getpid())
    pauses._waits = [(0.0, 0.5), (0.6, 0.1), (1.1, 0.2), (1.5, 0.1), (3.0, 0.3)]
    assert pauses.worst_s == pytest.approx(0.6)
    with Pauses(os.getpid()) as watched:
        assert watched.worst_s >= 0.0
