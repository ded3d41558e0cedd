"""The test scene: determinism, independence of size and rate, and ground truth that follows its own rules."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from engines.errors import SourceError
from engines.scene import LABELS, Scene
from engines.scene.schedule import Schedule
from engines.scene.truth import LOITERING_AFTER_S
from engines.scene.visits import depth_scale

SEEDS = range(12)


def small(seed: int = 3, **options: float) -> Scene:
    return Scene(seed, 128, 72, 15.0, **options)  # type: ignore[arg-type]


def test_same_seed_gives_the_same_pictures_in_any_order() -> None:
    forward, backward = small(), small()
    indices = [0, 5, 200, 450, 900]
    first = {index: forward.frame(index) for index in indices}
    for index in reversed(indices):
        np.testing.assert_array_equal(first[index], backward.frame(index))


def test_another_seed_gives_another_room() -> None:
    difference = small(3).frame(0).astype(int) - small(4).frame(0)
    assert np.abs(difference).mean() > 10


def test_noise_differs_between_frames_but_not_between_runs() -> None:
    scene = small()
    assert (scene.frame(1) != scene.frame(2)).any()
    np.testing.assert_array_equal(scene.frame(1), small().frame(1))


def test_the_world_does_not_depend_on_size_and_rate() -> None:
    large = Scene(5, 640, 480, 25.0)
    tiny = Scene(5, 64, 36, 5.0)
    assert large.intervals(0, 120) == tiny.intervals(0, 120)
    assert large.truth(31.0) == tiny.truth(31.0)


def test_the_picture_does_not_depend_on_the_resolution() -> None:
    cv2 = pytest.importorskip("cv2")
    large, tiny = Scene(5, 640, 360, 15.0), Scene(5, 320, 180, 15.0)
    for index in (10, 120, 300):
        seen = [cv2.resize(scene.frame(index), (64, 36), interpolation=cv2.INTER_AREA) for scene in (large, tiny)]
        assert np.abs(seen[0].astype(int) - seen[1]).mean() < 3


def test_frames_are_pictures_of_the_asked_size() -> None:
    frame = Scene(1, 320, 240).frame(7)
    assert frame.shape == (240, 320, 3)
    assert frame.dtype == np.uint8


def test_the_default_scene_shows_every_label_soon() -> None:
    assert {label for _, _, label in Scene().intervals(0, 45)} == set(LABELS)


def test_it_begins_with_nobody_for_seconds() -> None:
    for seed in SEEDS:
        begin, end, label = small(seed).intervals(0, 60)[0]
        assert (begin, label) == (0, "idle")
        assert end > 2.0


def test_intervals_are_maximal_and_agree_with_labels() -> None:
    scene = small(7)
    runs = scene.intervals(10.0, 130.0)
    assert runs[0][0] == 10.0
    assert runs[-1][1] == 130.0
    for (_, end, label), (begin, _, after) in pairwise(runs):
        assert end == begin
        assert label != after
    for begin, end, label in runs:
        for share in (0.01, 0.5, 0.99):
            assert scene.label(begin + share * (end - begin)) == label


def test_labels_follow_from_the_facts() -> None:
    for seed in SEEDS:
        scene = small(seed)
        for time_s in np.arange(0.0, 240.0, 0.7):
            truth = scene.truth(float(time_s))
            longest = max((person.in_view_s for person in truth.people), default=-1.0)
            expected = "idle" if longest < 0 else "passing" if longest < LOITERING_AFTER_S else "loitering"
            assert truth.label == ("left_behind" if truth.left else expected)
            assert all(0 <= person.x <= 1 for person in truth.people)


def test_what_was_left_is_collected_and_furniture_stays() -> None:
    scene = small(9)
    furniture = scene.truth(0.0).furniture
    counts = [scene.truth(float(t)).left for t in range(0, 1200, 2)]
    assert max(counts) >= 1
    assert min(counts[counts.index(max(counts)) :]) == 0
    assert {scene.truth(float(t)).furniture for t in range(0, 1200, 50)} == {furniture}


def test_nothing_left_is_hidden_behind_another_thing() -> None:
    for seed in SEEDS:
        schedule = Schedule(seed)
        schedule.extend(900.0)
        for item in schedule.brought:
            for other in schedule.furniture:
                beside = abs(item.x - other.x) * 4 / 3 >= 0.5 * sum(
                    thing.look.height * thing.look.aspect * depth_scale(thing.y) for thing in (item, other)
                )
                front, back = (item, other) if item.y > other.y else (other, item)
                below = front.y - front.look.height * depth_scale(front.y) > back.y
                assert beside or below


def test_furniture_and_luggage_come_from_one_distribution() -> None:
    furniture, luggage = [], []
    for seed in range(150):
        schedule = Schedule(seed)
        schedule.extend(120.0)
        furniture += [item.look for item in schedule.furniture]
        luggage += [item.look for item in schedule.brought]
    for value in ("height", "aspect"):
        means = [np.mean([getattr(look, value) for look in looks]) for looks in (furniture, luggage)]
        assert means[0] == pytest.approx(means[1], rel=0.06)
    assert {look.kind for look in furniture} == {look.kind for look in luggage}


def test_somebody_in_view_all_the_time_need_not_loiter() -> None:
    """People one right after another: longer than six seconds, and yet only passing."""
    longest = max(
        end - begin for seed in range(30) for begin, end, label in small(seed).intervals(0, 300) if label == "passing"
    )
    assert longest > 1.2 * LOITERING_AFTER_S


def test_left_s_sets_how_long_things_stand() -> None:
    schedule = Schedule(2, left_s=(62.0, 70.0))
    schedule.extend(900.0)
    stands = [item.take_s - item.gone_s for item in schedule.brought if np.isfinite(item.gone_s)]
    assert stands
    assert all(62.0 <= stay <= 70.0 for stay in stands)


@pytest.mark.parametrize("options", [{"seed": -1}, {"width": 4}, {"height": 0}, {"fps": 0.0}, {"fps": float("nan")}])
def test_a_scene_that_shows_nothing_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(SourceError, match="found"):
        Scene(**options)  # type: ignore[arg-type]
