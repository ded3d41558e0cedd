"""How good a stream of clips is, judged against the runs of labels that truly happened."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from engines.clips import Clip
from engines.events import EventDetector
from engines.manifest import EventRule

Run = tuple[float, float, str]
"""Start and end in seconds, and the label in between."""

NEAR_CHANGE_S = 1.0
LEAST_OVERLAP = 0.3
REMEMBERED_S = 60.0

RULES = tuple(
    EventRule(enter, leave, lasting, 0.0)
    for enter, leave, lasting in product((0.4, 0.5, 0.6, 0.7, 0.8), (0.3, 0.4, 0.5), (0.0, 1.0, 2.0))
    if leave <= enter
)


@dataclass(frozen=True)
class Judged:
    """One scene: the clips that a model made of it, and what was true.

    `remember_s` lists the moments 60 s after the bringer of something left had gone, where it still stood.
    """

    clips: Sequence[Clip]
    runs: Sequence[Run]
    remember_s: Sequence[float]


@dataclass(frozen=True)
class Tally:
    """Right answers out of all."""

    right: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        """Right answers per answer; 1 where nothing was asked."""
        return self.right / self.total if self.total else 1.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.right + other.right, self.total + other.total)


def label_at(runs: Sequence[Run], time_s: float) -> str:
    """The label just before a time."""
    index = bisect_right(runs, time_s - 1e-6, key=lambda run: run[0]) - 1
    return runs[max(index, 0)][2]


def near_change(runs: Sequence[Run], time_s: float) -> bool:
    """Whether the label changes within a second of a time."""
    return any(abs(start - time_s) < NEAR_CHANGE_S for start, _, _ in runs[1:])


def clip_tallies(judged: Sequence[Judged], labels: Sequence[str]) -> tuple[Tally, Tally]:
    """Clips whose label at their end is right: those far from a change of the label, and those near one."""
    far, near = Tally(), Tally()
    for scene in judged:
        for clip in scene.clips:
            right = labels[int(clip.probabilities.argmax())] == label_at(scene.runs, clip.end_s)
            if near_change(scene.runs, clip.end_s):
                near += Tally(int(right), 1)
            else:
                far += Tally(int(right), 1)
    return far, near


def confusion(judged: Sequence[Judged], labels: Sequence[str]) -> np.ndarray:
    """Counts of clips far from a change, int64 `[true, predicted]`."""
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for scene in judged:
        for clip in scene.clips:
            if not near_change(scene.runs, clip.end_s):
                counts[labels.index(label_at(scene.runs, clip.end_s)), int(clip.probabilities.argmax())] += 1
    return counts


def memory_tally(judged: Sequence[Judged], labels: Sequence[str], remembered: str) -> Tally:
    """Whether the first clip that ends 60 s or more after the bringer has gone still says so."""
    tally = Tally()
    for scene in judged:
        for moment in scene.remember_s:
            clip = next((clip for clip in scene.clips if clip.end_s >= moment), None)
            if clip is not None:
                tally += Tally(int(labels[int(clip.probabilities.argmax())] == remembered), 1)
    return tally


def detect(clips: Sequence[Clip], rules: Mapping[str, EventRule], labels: tuple[str, ...]) -> list[Run]:
    """The events that the rules make of clips."""
    detector = EventDetector(rules, labels)
    ended = []
    for clip in clips:
        ended += detector.add(clip.end_s, tuple(float(p) for p in clip.probabilities))
    return [
        (change.start_s, change.end_s, change.label) for change in ended + detector.close() if change.phase == "end"
    ]


def event_f1(judged: Sequence[Judged], rules: Mapping[str, EventRule], labels: tuple[str, ...]) -> float:
    """F1 of events with a rule: matched one to one, same label, temporal intersection over union of 0.3 or more."""
    matched = found = true = 0
    for scene in judged:
        events = detect(scene.clips, rules, labels)
        runs = [run for run in scene.runs if run[2] in rules]
        matched, found, true = matched + match(events, runs), found + len(events), true + len(runs)
    return 2.0 * matched / (found + true) if found + true else 1.0


def match(events: Sequence[Run], runs: Sequence[Run]) -> int:
    """How many events and runs pair up, best overlap first."""
    pairs = [
        (overlap(event, run), i, j)
        for i, event in enumerate(events)
        for j, run in enumerate(runs)
        if event[2] == run[2] and overlap(event, run) >= LEAST_OVERLAP
    ]
    taken_events: set[int] = set()
    taken_runs: set[int] = set()
    for _, i, j in sorted(pairs, reverse=True):
        if i not in taken_events and j not in taken_runs:
            taken_events.add(i)
            taken_runs.add(j)
    return len(taken_runs)


def overlap(one: Run, other: Run) -> float:
    """Temporal intersection over union."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    union = max(one[1], other[1]) - min(one[0], other[0])
    return max(0.0, shared) / union if union > 0 else 0.0


def choose_rules(judged: Sequence[Judged], labels: tuple[str, ...], events: Sequence[str]) -> dict[str, EventRule]:
    """For each label the rule with the best F1 on these scenes; of equal ones the first."""
    return {label: max(RULES, key=lambda rule: event_f1(judged, {label: rule}, labels)) for label in events}
