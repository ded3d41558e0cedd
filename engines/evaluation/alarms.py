"""Alarms of one long stream against what truly happened in it: overlap, delay, misses and false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.clips import Clip
from engines.evaluation.occurrences import Alarm, Run, detect_alarms, pair_by_overlap, pair_by_start
from engines.evaluation.resampling import Metric, Undefined, Weights
from engines.manifest import EventRule

OVERLAPS = (0.1, 0.3, 0.5)
TOLERANCES_S = (1.0, 3.0)
EARLY_S = 1.0
"""An alarm announced this long before the true start still counts as its detection, with a delay of 0."""
THRESHOLDS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.97, 0.99)


@dataclass(frozen=True)
class StreamTruth:
    """What is true of a stream, in seconds of it.

    Attributes:
        runs: events only, each maximal, by start.
        quiet: spans that are labelled and hold no event, by start.
        owners: starts of the videos that make up the stream, and the index of each one's group.
        lag_s: length of a clip. An alarm may speak of what a clip that ends with it still shows, so the time this
            long after an event is neither its own nor quiet.
    """

    runs: Sequence[Run]
    quiet: Sequence[tuple[float, float]]
    owners: tuple[NDArray[np.float64], NDArray[np.int64]]
    lag_s: float

    def group_at(self, time_s: float) -> int:
        """Index of the group whose video is shown at a time."""
        starts, groups = self.owners
        return int(groups[max(0, int(np.searchsorted(starts, time_s + 1e-6, side="right")) - 1)])

    @cached_property
    def quiet_spans(self) -> list[tuple[float, float]]:
        """Quiet time that is not the wake of an event."""
        wakes = [(end_s, end_s + self.lag_s) for _, end_s, _ in self.runs]
        return [left for span in self.quiet for left in _without(span, wakes)]

    @property
    def quiet_s(self) -> float:
        """How long it is quiet."""
        return sum(end_s - start_s for start_s, end_s in self.quiet_spans)


@dataclass(frozen=True)
class Found:
    """How one event was found: the group it belongs to, and the delay in seconds, None where it was missed."""

    group: int
    delay_s: float | None


class AlarmStream:
    """The alarms that rules make of a stream's clips, counted by group."""

    def __init__(self, alarms: Sequence[Alarm], truth: StreamTruth, groups: int) -> None:
        self.alarms, self.truth, self._groups = alarms, truth, groups
        self._alarm_groups = [truth.group_at(alarm.start_s) for alarm in alarms]
        self._run_groups = [truth.group_at(run[0]) for run in truth.runs]
        self.found = _found(alarms, truth, self._run_groups)
        self.false = [index for index, alarm in enumerate(alarms) if _is_false(alarm, truth)]

    def f1(self, *, overlap: float | None = None, tolerance_s: float = 0.0) -> Metric:
        """F1 of events paired by tIoU of `overlap`, or by starts at most `tolerance_s` apart."""
        events, runs = [alarm.run for alarm in self.alarms], self.truth.runs
        pairs = pair_by_start(events, runs, tolerance_s) if overlap is None else pair_by_overlap(events, runs, overlap)
        matched = self._count([self._run_groups[j] for _, j in pairs])
        found, true = self._count(self._alarm_groups), self._count(self._run_groups)

        def metric(weights: Weights) -> float:
            if not true @ weights:
                raise Undefined("no event occurs")
            # a pair may lie in two groups, drawn differently often
            return min(1.0, float(2.0 * (matched @ weights) / ((found + true) @ weights)))

        return metric

    def missed(self) -> Metric:
        """Share of events that no alarm found."""
        lost = self._count([each.group for each in self.found if each.delay_s is None])
        true = self._count(self._run_groups)

        def metric(weights: Weights) -> float:
            if not true @ weights:
                raise Undefined("no event occurs")
            return float(lost @ weights / (true @ weights))

        return metric

    def delay_s(self, quantile: float) -> Metric:
        """A quantile of the delay of the events that were found, from their true start to the announcement."""
        known = np.array([[each.delay_s, each.group] for each in self.found if each.delay_s is not None])
        known = known.reshape(-1, 2)[np.argsort(known.reshape(-1, 2)[:, 0], kind="stable")]
        delays, groups = known[:, 0], known[:, 1].astype(np.int64)

        def metric(weights: Weights) -> float:
            if not self.found:
                raise Undefined("no event occurs")
            if not len(delays) or not weights[groups].sum():
                raise Undefined("no event was found")
            share = np.cumsum(weights[groups]) / weights[groups].sum()
            return float(delays[int(np.searchsorted(share, quantile - 1e-12))])

        return metric

    def false_per_hour(self) -> Metric:
        """False alarms per hour of quiet time."""
        false = self._count([self._alarm_groups[index] for index in self.false])
        quiet_s = self._seconds(self.truth.quiet_spans)

        def metric(weights: Weights) -> float:
            return 3600.0 * float(false @ weights) / _some_quiet(float(quiet_s @ weights))

        return metric

    def quiet_in_alarm(self) -> Metric:
        """Share of quiet time during which an alarm is on: one that never ends is a single false alarm, or none."""
        spans = _merged([(alarm.start_s, alarm.end_s) for alarm in self.alarms])
        covered = [
            (max(a, start_s), min(b, end_s))
            for a, b in self.truth.quiet_spans
            for start_s, end_s in spans
            if start_s < b and end_s > a
        ]
        covered_s, quiet_s = self._seconds(covered), self._seconds(self.truth.quiet_spans)
        return lambda weights: float(covered_s @ weights) / _some_quiet(float(quiet_s @ weights))

    def _seconds(self, spans: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
        """How much of the spans each group's videos show, `[G]`."""
        seconds = np.zeros(self._groups)
        for start_s, end_s in spans:
            for owner, shared_s in _shares(self.truth.owners, start_s, end_s):
                seconds[owner] += shared_s
        return seconds

    def _count(self, groups: Sequence[int]) -> NDArray[np.float64]:
        return np.bincount(np.array(groups, np.int64), minlength=self._groups).astype(np.float64)


class CurvePoint(msgspec.Struct, frozen=True):
    """What the stream gives when scores have to reach `threshold`; None where it does not exist."""

    threshold: float
    false_alarms_per_hour: float | None
    delay_median_s: float | None
    missed: float | None


def all_alarms(
    sessions: Sequence[Sequence[Clip]], rules: Mapping[str, EventRule], labels: tuple[str, ...]
) -> list[Alarm]:
    """The alarms of each session's clips; an event ends with its session."""
    return [alarm for clips in sessions for alarm in detect_alarms(clips, rules, labels)]


def alarm_curve(
    sessions: Sequence[Sequence[Clip]], rules: Mapping[str, EventRule], labels: tuple[str, ...], truth: StreamTruth,
    groups: int, *, hysteresis: bool,
) -> list[CurvePoint]:  # fmt: skip
    """Delay and misses against false alarms as the threshold to enter moves.

    With hysteresis the threshold to leave stays in the rule's proportion to it, and the minimum duration stays as it
    is; without, an event is whatever is above the threshold.
    """
    points = []
    for threshold in THRESHOLDS:
        moved = {label: moved_rule(rule, threshold, hysteresis=hysteresis) for label, rule in rules.items()}
        stream = AlarmStream(all_alarms(sessions, moved, labels), truth, groups)
        metrics = (stream.false_per_hour(), stream.delay_s(0.5), stream.missed())
        points.append(CurvePoint(threshold, *(_plain(metric, groups) for metric in metrics)))
    return points


def moved_rule(rule: EventRule, threshold: float, *, hysteresis: bool) -> EventRule:
    """The rule with another threshold to enter."""
    if not hysteresis:
        return EventRule(threshold, threshold)
    leave = min(threshold, threshold * rule.exit / rule.enter if rule.enter else threshold)
    return EventRule(threshold, leave, rule.min_duration_s, rule.cool_down_s)


def _some_quiet(seconds: float) -> float:
    if seconds <= 0:
        raise Undefined("no quiet time, more than a clip after any event")
    return seconds


def _merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start_s, end_s in sorted(spans):
        if merged and start_s <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end_s, merged[-1][1]))
        else:
            merged.append((start_s, end_s))
    return merged


def _plain(metric: Metric, groups: int) -> float | None:
    try:
        return metric(np.ones(groups))
    except Undefined:
        return None


def _found(alarms: Sequence[Alarm], truth: StreamTruth, groups: Sequence[int]) -> list[Found]:
    """Each event with the first alarm announced from a moment before it until its last clip is over."""
    taken: set[int] = set()
    found = []
    for (start_s, end_s, label), group in zip(truth.runs, groups, strict=True):
        delay = None
        for index, alarm in enumerate(alarms):
            timely = start_s - EARLY_S <= alarm.announced_s <= end_s + truth.lag_s
            if index not in taken and alarm.label == label and timely:
                taken.add(index)
                delay = max(0.0, alarm.announced_s - start_s)
                break
        found.append(Found(group, delay))
    return found


def _is_false(alarm: Alarm, truth: StreamTruth) -> bool:
    """Begun in quiet time, and nothing of its kind happens while it lasts."""
    inside = any(start_s <= alarm.start_s < end_s for start_s, end_s in truth.quiet_spans)
    return inside and not any(
        label == alarm.label and start_s < alarm.end_s and end_s > alarm.start_s for start_s, end_s, label in truth.runs
    )


def _without(span: tuple[float, float], holes: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    left = [span]
    for start_s, end_s in holes:
        left = [part for a, b in left for part in ((a, min(b, start_s)), (max(a, end_s), b)) if part[1] > part[0]]
    return left


def _shares(
    owners: tuple[NDArray[np.float64], NDArray[np.int64]], start_s: float, end_s: float
) -> list[tuple[int, float]]:
    """How many seconds of a span each group's videos show."""
    starts, groups = owners
    edges = np.append(starts, np.inf)
    first = max(0, int(np.searchsorted(starts, start_s, side="right")) - 1)
    shares = []
    for video in range(first, len(starts)):
        shared_s = min(end_s, float(edges[video + 1])) - max(start_s, float(edges[video]))
        if shared_s <= 0:
            break
        shares.append((int(groups[video]), shared_s))
    return shares
