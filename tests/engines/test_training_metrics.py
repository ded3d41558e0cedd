"""The figures of a bundle: counted by hand on small examples."""

from __future__ import annotations

import numpy as np
import pytest

from engines.clips import Clip
from engines.evaluation.occurrences import match, overlap
from engines.manifest import ClipRule, EventRule
from engines.scene import LABELS, Scene
from engines.training.scene.judging import cut, truth_of
from engines.training.scene.metrics import (
    Judged,
    Tally,
    choose_rules,
    clip_tallies,
    confusion,
    event_f1,
    memory_tally,
)

RUNS = [(0.0, 10.0, "idle"), (10.0, 20.0, "passing"), (20.0, 100.0, "left_behind")]


def clip(end_s: float, label: str, sure: float = 0.9) -> Clip:
    probabilities = np.full(4, (1 - sure) / 3, np.float32)
    probabilities[LABELS.index(label)] = sure
    return Clip(int(end_s), end_s - 2, end_s, 10, 1.0, end_s - 2, end_s, probabilities)


def truthful(runs: list[tuple[float, float, str]], end_s: int) -> list[Clip]:
    return [clip(t, next(label for a, b, label in runs if a < t <= b)) for t in range(2, end_s + 1)]


def test_the_label_counts_at_the_clips_end_and_changes_are_apart() -> None:
    clips = [clip(5, "idle"), clip(9.5, "passing"), clip(10.5, "passing"), clip(15, "idle"), clip(50, "left_behind")]
    far, near = clip_tallies([Judged(clips, RUNS, ())], LABELS)
    assert (far, near) == (Tally(2, 3), Tally(1, 2))
    assert far.share == pytest.approx(2 / 3)
    counts = confusion([Judged(clips, RUNS, ())], LABELS)
    assert counts.sum() == 3
    assert counts[1, 0] == 1


def test_what_is_remembered_is_asked_once_a_case() -> None:
    clips = [clip(79, "left_behind"), clip(80, "left_behind"), clip(81, "idle"), clip(91, "idle")]
    assert memory_tally([Judged(clips, RUNS, [79.5, 80.2, 90.5, 99.0])], LABELS, "left_behind") == Tally(1, 3)


def test_events_pair_one_to_one_by_overlap() -> None:
    assert overlap((0, 10, "a"), (5, 15, "a")) == pytest.approx(1 / 3)
    assert overlap((0, 1, "a"), (2, 3, "a")) == 0
    assert match([(0, 10, "a"), (1, 9, "a")], [(0, 10, "a")]) == 1
    assert match([(0, 10, "b")], [(0, 10, "a")]) == 0
    assert match([(0, 2, "a")], [(0, 10, "a")]) == 0
    assert match([(0, 5, "a"), (5, 10, "a")], [(0, 6, "a"), (6, 10, "a")]) == 2


def test_perfect_clips_score_one_and_others_less() -> None:
    rules = {label: EventRule(0.5, 0.4) for label in LABELS[1:]}
    perfect = Judged(truthful(RUNS, 100), RUNS, [80.0])
    assert event_f1([perfect], rules, LABELS) == 1.0
    assert clip_tallies([perfect], LABELS)[0].share == 1.0
    blind = Judged([clip(t, "idle") for t in range(2, 101)], RUNS, [80.0])
    assert event_f1([blind], rules, LABELS) == 0.0
    extra = Judged([*truthful(RUNS, 100)[:3], clip(5, "loitering"), *truthful(RUNS, 100)[4:]], RUNS, ())
    assert event_f1([extra], rules, LABELS) == pytest.approx(2 * 2 / (3 + 2))


def test_rules_are_chosen_by_what_they_find() -> None:
    """A spike of one clip is no event: the rule that waits is the better one."""
    clips = [clip(t, "loitering" if t in (4, 60) else c) for t, c in zip(range(2, 101), _labels(100), strict=True)]
    runs = [(0.0, 30.0, "idle"), (30.0, 50.0, "loitering"), (50.0, 100.0, "idle")]
    rules = choose_rules([Judged(clips, runs, ())], LABELS, ["loitering"])
    assert rules["loitering"].min_duration_s > 0
    assert event_f1([Judged(clips, runs, ())], rules, LABELS) == 1.0


def _labels(end_s: int) -> list[str]:
    return ["loitering" if 30 < t <= 50 else "idle" for t in range(2, end_s + 1)]


def test_clips_are_cut_as_serving_does() -> None:
    times = np.arange(0, 20, 0.2)
    probabilities = np.eye(4, dtype=np.float32)[(times // 5).astype(int)]
    clips = cut(probabilities, times, ClipRule(2.0, 1.0, "last", 0.3), 5.0)
    assert [c.end_s for c in clips] == list(range(2, 21))
    assert [int(c.probabilities.argmax()) for c in clips if c.end_s in (5, 6, 10, 11)] == [0, 1, 1, 2]


def test_the_moments_to_remember_are_left_behind_in_truth() -> None:
    asked = 0
    for seed in range(6):
        runs, moments = truth_of(seed, 300.0, (62.0, 110.0))
        scene = Scene(seed, 64, 36, left_s=(62.0, 110.0))
        assert runs == scene.intervals(0.0, 300.0)
        for moment in moments:
            asked += 1
            assert {scene.label(moment + later) for later in (-1.0, 0.0, 1.0)} == {"left_behind"}
    assert asked >= 6
