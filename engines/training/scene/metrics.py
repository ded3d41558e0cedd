"""How good a stream of clips is, judged against the runs of labels that truly happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from engines.clips import Clip
from engines.evaluation.occurrences import Run, detect_alarms, label_at, match
from engines.manifest import EventRule

NEAR_CHANGE_S = 1.0
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


def event_f1(judged: Sequence[Judged], rules: Mapping[str, EventRule], labels: tuple[str, ...]) -> float:
    """F1 of events with a rule: matched one to one, same label, temporal intersection over union of 0.3 or more."""
    matched = found = true = 0
    for scene in judged:
        events = [alarm.run for alarm in detect_alarms(scene.clips, rules, labels)]
        runs = [run for run in scene.runs if run[2] in rules]
        matched, found, true = matched + match(events, runs), found + len(events), true + len(runs)
    return 2.0 * matched / (found + true) if found + true else 1.0


def choose_rules(judged: Sequence[Judged], labels: tuple[str, ...], events: Sequence[str]) -> dict[str, EventRule]:
    """For each label the rule with the best F1 on these scenes; of equal ones the first."""
    return {label: max(RULES, key=lambda rule: event_f1(judged, {label: rule}, labels)) for label in events}
