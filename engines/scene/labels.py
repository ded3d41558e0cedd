"""Ground truth of a schedule: labels and facts as functions of continuous time."""

from __future__ import annotations

from itertools import pairwise

from engines.scene.schedule import Schedule
from engines.scene.truth import LABELS, LOITERING_AFTER_S, ObjectTruth, PersonTruth, Truth
from engines.scene.visits import depth_scale

IDLE, PASSING, LOITERING, LEFT_BEHIND = LABELS
LOOK_AHEAD_S = 1.0


def label_at(schedule: Schedule, time_s: float, *, seen_from_s: float = float("-inf")) -> str:
    """The label at a time; with `seen_from_s` the label for an observer who started to watch only then.

    Such an observer cannot know that a thing that stood there already was brought, nor since when a person was in view.
    """
    schedule.extend(time_s + LOOK_AHEAD_S)
    if any(item.left(time_s) and item.put_s > seen_from_s for item in schedule.brought):
        return LEFT_BEHIND
    since = [
        max(visit.enter_s, seen_from_s)
        for visit in schedule.visits_at(time_s)
        if visit.enter_s <= time_s < visit.exit_s
    ]
    if not since:
        return IDLE
    return LOITERING if time_s - min(since) >= LOITERING_AFTER_S else PASSING


def truth_at(schedule: Schedule, time_s: float) -> Truth:
    """Label and facts at a time."""
    label = label_at(schedule, time_s)
    people = []
    for visit in schedule.visits_at(time_s):
        if visit.enter_s <= time_s < visit.exit_s:
            x, y, _, _ = visit.path.at(time_s)
            height, carrying = visit.look.height * depth_scale(y), visit.held(time_s) is not None
            people.append(PersonTruth(visit.person, x, y, height, time_s - visit.enter_s, carrying))
    objects = tuple(
        ObjectTruth(
            item.x, item.y, item.look.height * depth_scale(item.y), item.brought_by, item.put_s, item.left(time_s)
        )
        for item in schedule.standing_at(time_s)
    )
    return Truth(time_s, label, tuple(people), objects)


def intervals(schedule: Schedule, start_s: float, end_s: float) -> list[tuple[float, float, str]]:
    """Maximal runs `(start_s, end_s, label)` of one label between two times, in order, without holes."""
    schedule.extend(end_s + LOOK_AHEAD_S)
    moments = {start_s, end_s}
    for visit in schedule.visits:
        moments.update(
            t for t in (visit.enter_s, visit.enter_s + LOITERING_AFTER_S, visit.exit_s) if start_s < t < end_s
        )
    for item in schedule.brought:
        moments.update(t for t in (item.gone_s, item.take_s) if start_s < t < end_s)
    runs: list[tuple[float, float, str]] = []
    for begin, end in pairwise(sorted(moments)):
        label = label_at(schedule, 0.5 * (begin + end))
        if runs and runs[-1][2] == label:
            runs[-1] = (runs[-1][0], end, label)
        else:
            runs.append((begin, end, label))
    return runs
