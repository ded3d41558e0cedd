"""Alarms against the truth: counted by hand on streams of a few events."""

from __future__ import annotations

import numpy as np
import pytest

from engines.clips import Clip
from engines.evaluation.alarms import AlarmStream, StreamTruth, alarm_curve, moved_rule
from engines.evaluation.occurrences import Alarm, detect_alarms, pair_by_overlap, pair_by_start
from engines.evaluation.resampling import Figure, Undefined
from engines.evaluation.stream_figures import bounded
from engines.manifest import EventRule

LABELS = ("calm", "fight")


def truth(
    runs: list[tuple[float, float]], seconds: float = 100.0, *, lag_s: float = 2.0, groups: int = 1
) -> StreamTruth:
    """Events in `seconds` of stream, quiet elsewhere; the videos of `groups` groups are equally long."""
    edges = [0.0, *(edge for run in runs for edge in run), seconds]
    quiet = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]
    owners = np.arange(groups) * seconds / groups, np.arange(groups)
    return StreamTruth([(a, b, "fight") for a, b in runs], quiet, owners, lag_s)


def alarm(start_s: float, end_s: float, announced_s: float | None = None) -> Alarm:
    return Alarm(start_s, end_s, "fight", start_s if announced_s is None else announced_s)


def clips(scores: list[float]) -> list[Clip]:
    """One each second, the first ends at 2 s."""
    return [
        Clip(k, k, k + 2.0, 10, 1.0, k, k + 1.9, np.array([1 - score, score], np.float32))
        for k, score in enumerate(scores)
    ]


def stream(alarms: list[Alarm], of: StreamTruth) -> AlarmStream:
    return AlarmStream(alarms, of, len(of.owners[0]))


ONE = np.ones(1)


def test_an_alarm_is_announced_when_it_has_lasted() -> None:
    scores = [0.1, 0.9, 0.9, 0.9, 0.5, 0.1, 0.1]
    (found,) = detect_alarms(clips(scores), {"fight": EventRule(0.6, 0.4, 2.0)}, LABELS)
    assert (found.start_s, found.announced_s, found.end_s) == (3.0, 5.0, 7.0)
    (still_on,) = detect_alarms(clips(scores[:4]), {"fight": EventRule(0.6, 0.4)}, LABELS)
    assert (still_on.start_s, still_on.end_s) == (3.0, 5.0)


def test_pairs_by_overlap_and_by_start() -> None:
    events, runs = [(0.0, 4.0, "a"), (11.0, 12.0, "a"), (20.0, 30.0, "b")], [(0.0, 2.0, "a"), (10.0, 20.0, "a")]
    assert pair_by_overlap(events, runs, 0.5) == [(0, 0)]
    assert pair_by_overlap(events, runs, 0.1) == [(0, 0), (1, 1)]
    assert pair_by_start(events, runs, 1.0) == [(0, 0), (1, 1)]
    assert pair_by_start(events, runs, 0.5) == [(0, 0)]


def test_delay_misses_and_f1() -> None:
    of = truth([(10, 20), (40, 50), (70, 80)])
    found = stream([alarm(11, 20, 12.5), alarm(44, 50), alarm(60, 62)], of)
    assert [each.delay_s for each in found.found] == [2.5, 4.0, None]
    assert found.delay_s(0.5)(ONE) == 2.5
    assert found.delay_s(0.9)(ONE) == 4.0
    assert found.missed()(ONE) == pytest.approx(1 / 3)
    assert found.f1(overlap=0.5)(ONE) == pytest.approx(2 * 2 / 6)
    assert found.f1(tolerance_s=1.0)(ONE) == pytest.approx(2 * 1 / 6)


def test_an_alarm_from_long_before_finds_nothing() -> None:
    """Always on would otherwise have no delay and one false alarm for ever."""
    found = stream([alarm(0, 100)], truth([(10, 20), (40, 50)]))
    assert [each.delay_s for each in found.found] == [None, None]
    assert found.quiet_in_alarm()(ONE) == 1.0
    early = stream([alarm(9.5, 20)], truth([(10, 20)]))
    assert early.found[0].delay_s == 0.0


def test_false_alarms_count_in_quiet_time_only() -> None:
    """Quiet are 0-10, 22-40 and 52-100: two seconds after an event are neither."""
    of = truth([(10, 20), (40, 50)])
    assert of.quiet_s == pytest.approx(10 + 18 + 48)
    found = stream([alarm(5, 6), alarm(8, 12), alarm(21, 22), alarm(60, 61), alarm(70, 72)], of)
    assert [found.alarms[index].start_s for index in found.false] == [5, 60, 70]
    assert found.false_per_hour()(ONE) == pytest.approx(3 * 3600 / 76)
    assert found.quiet_in_alarm()(ONE) == pytest.approx((1 + 2 + 1 + 2) / 76)


def test_groups_are_weighted_where_the_videos_lie() -> None:
    of = truth([(10, 20), (60, 70)], groups=2)
    found = stream([alarm(10, 20), alarm(90, 91)], of)
    first, second, both = np.array([2.0, 0.0]), np.array([0.0, 2.0]), np.ones(2)
    assert [found.missed()(weights) for weights in (first, second, both)] == [0.0, 1.0, 0.5]
    assert found.false_per_hour()(first) == 0.0
    assert found.false_per_hour()(second) == pytest.approx(3600 / 38)


def test_what_does_not_exist_has_a_reason() -> None:
    nothing = stream([], truth([]))
    for metric in (nothing.f1(overlap=0.5), nothing.missed(), nothing.delay_s(0.5)):
        with pytest.raises(Undefined, match="no event occurs"):
            metric(ONE)
    with pytest.raises(Undefined, match="no event was found"):
        stream([], truth([(1, 2)])).delay_s(0.5)(ONE)
    with pytest.raises(Undefined, match="no quiet time"):
        stream([], StreamTruth([(0, 9, "fight")], [], (np.zeros(1), np.zeros(1, int)), 2.0)).false_per_hour()(ONE)


def test_no_false_alarm_is_not_proof_of_none() -> None:
    assert bounded(Figure(0.0, 0.0, 0.0), 3600.0).high == pytest.approx(3.0)
    assert bounded(Figure(2.0, 1.0, 3.0), 3600.0) == Figure(2.0, 1.0, 3.0)


def test_the_curve_trades_misses_for_false_alarms() -> None:
    scores = [0.05] * 8 + [0.9] * 8 + [0.05] * 20 + [0.45] * 2 + [0.05] * 20 + [0.7, 0.3] * 4 + [0.05] * 20
    of = truth([(10, 17), (60, 67)], len(scores) + 2.0)
    rules = {"fight": EventRule(0.6, 0.4)}
    plain, steady = (
        alarm_curve([clips(scores)], rules, LABELS, of, 1, hysteresis=hysteresis) for hysteresis in (False, True)
    )
    by_threshold = {point.threshold: point for point in plain}
    assert by_threshold[0.4].false_alarms_per_hour > 0
    assert by_threshold[0.4].missed == 0
    assert (by_threshold[0.6].false_alarms_per_hour, by_threshold[0.6].missed) == (0, 0)
    assert by_threshold[0.8].missed == 0.5
    assert by_threshold[0.99].missed == 1
    assert by_threshold[0.99].delay_median_s is None
    flickers = AlarmStream(
        detect_alarms(clips(scores), {"fight": moved_rule(rules["fight"], 0.6, hysteresis=False)}, LABELS), of, 1
    )
    held = AlarmStream(detect_alarms(clips(scores), {"fight": EventRule(0.6, 0.2)}, LABELS), of, 1)
    assert (len(flickers.alarms), len(held.alarms)) == (5, 2)
    assert len(steady) == len(plain)


def test_hysteresis_keeps_its_proportion() -> None:
    rule = EventRule(0.6, 0.3, 2.0, 5.0)
    assert moved_rule(rule, 0.8, hysteresis=True) == EventRule(0.8, pytest.approx(0.4), 2.0, 5.0)
    assert moved_rule(rule, 0.8, hysteresis=False) == EventRule(0.8, 0.8)
