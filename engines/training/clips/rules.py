"""Event rules chosen on streams: held-out videos joined one after the other, the state carried over the cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from engines.clips import Clip, ClipClock, Step
from engines.evaluation.alarms import AlarmStream, StreamTruth
from engines.evaluation.occurrences import Run, detect_alarms
from engines.evaluation.resampling import Metric, Undefined
from engines.manifest import ClipRule, EventRule
from engines.training.answers import Answers, runs, softmax
from engines.training.sequences import FeatureSequence

RULES = tuple(
    EventRule(enter, leave, lasting, 0.0)
    for enter, leave, lasting in product(
        (0.5, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95), (0.3, 0.2, 0.4, 0.5, 0.6, 0.7), (0.0, 1.0, 2.0)
    )
    if leave <= enter
)
"""From which one is chosen; of equally good ones the first."""

LEAST_OVERLAP = 0.3


@dataclass(frozen=True)
class Stream:
    """Clips that a model made of a stream, and the runs of labels that were true."""

    clips: Sequence[Clip]
    runs: Sequence[Run]
    end_s: float


def make_stream(
    answers: Answers, sequences: Sequence[FeatureSequence], labels: Sequence[str], clip: ClipRule, rate_hz: float,
    *, temperature: float,
) -> Stream:  # fmt: skip
    """Join sequences, each a nominal period after the one before; `answers` are logits with the state carried over."""
    clock, at_s, clips = ClipClock(clip, rate_hz, 0.0), 0.0, []
    true: list[Run] = []
    for logits, sequence in zip(answers, sequences, strict=True):
        times = sequence.times_s - sequence.times_s[0] + at_s
        for time_s, row in zip(times.tolist(), softmax(logits, temperature), strict=True):
            clips += clock.add(Step(time_s, row))
        at_s = float(times[-1]) + 1.0 / rate_hz
        ends = np.append(times, at_s)
        for start, end in runs(sequence.labels):
            label = labels[int(sequence.labels[start])]
            if true and true[-1][2] == label and ends[start] - true[-1][1] < 1e-6:
                true[-1] = (true[-1][0], float(ends[end]), label)
            else:
                true.append((float(ends[start]), float(ends[end]), label))
    return Stream(clips, true, at_s)


def choose_rules(
    streams: Sequence[Stream], labels: tuple[str, ...], events: Sequence[str], clip: ClipRule,
    *, most_false_per_hour: float | None = None,
) -> dict[str, EventRule]:  # fmt: skip
    """For each event label the best rule.

    Without a limit the one with the best F1 of events (tIoU of 0.3 or more); with one, of the rules that keep to it the
    one with the fewest misses and then the least delay, or the one with the fewest false alarms where none does.
    """
    return {
        label: min(
            RULES,
            key=lambda rule: _cost(
                [_alarms(stream, labels, label, rule, clip) for stream in streams], most_false_per_hour
            ),
        )
        for label in events
    }


def _cost(judged: Sequence[AlarmStream], limit: float | None) -> tuple[float, ...]:
    if limit is None:
        return (-_mean(judged, lambda each: each.f1(overlap=LEAST_OVERLAP), 0.0),)
    false = _mean(judged, AlarmStream.false_per_hour, 0.0)
    missed = _mean(judged, AlarmStream.missed, 0.0)
    delay = _mean(judged, lambda each: each.delay_s(0.5), float("inf"))
    return max(false - limit, 0.0), missed, delay


def _alarms(stream: Stream, labels: tuple[str, ...], label: str, rule: EventRule, clip: ClipRule) -> AlarmStream:
    events = [run for run in stream.runs if run[2] == label]
    quiet = [(start_s, end_s) for start_s, end_s, name in stream.runs if name != label]
    truth = StreamTruth(events, quiet, (np.zeros(1), np.zeros(1, np.int64)), clip.length_s)
    return AlarmStream(detect_alarms(stream.clips, {label: rule}, labels), truth, 1)


def _mean(streams: Sequence[AlarmStream], metric_of: Callable[[AlarmStream], Metric], otherwise: float) -> float:
    values = []
    for each in streams:
        try:
            values.append(metric_of(each)(np.ones(1)))
        except Undefined:
            continue
    return float(np.mean(values)) if values else otherwise
