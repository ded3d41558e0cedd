"""What happened and what was announced, as runs of labels in time, and how they pair up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engines.clips import Clip
from engines.events import EventDetector
from engines.manifest import EventRule

Run = tuple[float, float, str]
"""Start and end in seconds, and the label in between."""

LEAST_OVERLAP = 0.3


@dataclass(frozen=True)
class Alarm:
    """One detected event: when it started and ended, and when a subscriber first heard of it, in media seconds."""

    start_s: float
    end_s: float
    label: str
    announced_s: float

    @property
    def run(self) -> Run:
        """The event as a run."""
        return self.start_s, self.end_s, self.label


def detect_alarms(clips: Sequence[Clip], rules: Mapping[str, EventRule], labels: tuple[str, ...]) -> list[Alarm]:
    """The events that the rules make of clips, as serving announces them, by the time of their start."""
    detector = EventDetector(rules, labels)
    begun: dict[int, float] = {}
    alarms = []
    for clip in clips:
        for change in detector.add(clip.end_s, tuple(float(p) for p in clip.probabilities)):
            if change.phase == "begin":
                begun[change.number] = clip.end_s
            elif change.phase == "end":
                alarms.append(Alarm(change.start_s, change.end_s, change.label, begun[change.number]))
    for change in detector.close():
        alarms.append(Alarm(change.start_s, change.end_s, change.label, begun[change.number]))
    return sorted(alarms, key=lambda alarm: (alarm.start_s, alarm.label))


def label_at(runs: Sequence[Run], time_s: float) -> str:
    """The label just before a time."""
    index = bisect_right(runs, time_s - 1e-6, key=lambda run: run[0]) - 1
    return runs[max(index, 0)][2]


def overlap(one: Run, other: Run) -> float:
    """Temporal intersection over union (tIoU)."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    union = max(one[1], other[1]) - min(one[0], other[0])
    return max(0.0, shared) / union if union > 0 else 0.0


def match(events: Sequence[Run], runs: Sequence[Run], least_overlap: float = LEAST_OVERLAP) -> int:
    """How many events and runs of one label pair up, best overlap first."""
    return len(pair_by_overlap(events, runs, least_overlap))


def pair_by_overlap(events: Sequence[Run], runs: Sequence[Run], least_overlap: float) -> list[tuple[int, int]]:
    """Indices of events and runs that pair one to one, same label, tIoU of `least_overlap` or more, best first."""
    return _pair(events, runs, lambda event, run: _at_least(overlap(event, run), least_overlap))


def pair_by_start(events: Sequence[Run], runs: Sequence[Run], tolerance_s: float) -> list[tuple[int, int]]:
    """Indices of events and runs that pair one to one, same label, starts at most `tolerance_s` apart, nearest first.

    The point-level counterpart of tIoU in online detection of action starts (Shou et al. 2018, arXiv 1802.06822).
    """
    return _pair(events, runs, lambda event, run: _at_least(-abs(event[0] - run[0]), -tolerance_s - 1e-9))


def _at_least(value: float, least: float) -> float | None:
    return value if value >= least else None


def _pair(
    events: Sequence[Run], runs: Sequence[Run], merit: Callable[[Run, Run], float | None]
) -> list[tuple[int, int]]:
    candidates = [
        (value, i, j)
        for i, event in enumerate(events)
        for j, run in enumerate(runs)
        if event[2] == run[2] and (value := merit(event, run)) is not None
    ]
    taken_events: set[int] = set()
    taken_runs: set[int] = set()
    pairs = []
    for _, i, j in sorted(candidates, reverse=True):
        if i not in taken_events and j not in taken_runs:
            taken_events.add(i)
            taken_runs.add(j)
            pairs.append((i, j))
    return pairs
