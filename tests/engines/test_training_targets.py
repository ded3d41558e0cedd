"""What the network is taught agrees with the scene's own truth."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

from engines.scene import LABELS, Scene
from engines.scene.labels import label_at
from engines.shrink import shrunk
from engines.training.scene.footage import Camera, due_frames
from engines.training.scene.lanes import Lane, Walk, film
from engines.training.scene.pictures import augment, scene_pictures
from engines.training.scene.recipe import Memory
from engines.training.scene.targets import BROUGHT, LEFT, STAYING, evidence, knowable_labels, moments, picture_targets

GRID, SIZE = (9, 16), (72, 128)


@pytest.fixture(scope="module")
def lanes() -> list[Lane]:
    made = []
    for seed in range(4):
        seen = film(seed, 40.0, 5.0, SIZE, GRID)
        features = np.linspace(0, 1, len(seen.times_s) * 4 * 9 * 16, dtype=np.float16).reshape(len(seen.times_s), -1)
        made.append(Lane(features, seen.times_s, seen.since_s, seen.left_s, seen.evidence))
    return made


def test_knowable_labels_are_the_scenes_own_for_who_watched_from_the_start() -> None:
    scene = Scene(11, 32, 18)
    times = np.arange(0, 200, 0.4)
    facts = np.array([moments(scene, float(t)) for t in times])
    known = knowable_labels(times, facts[:, 0], facts[:, 1], -np.inf)
    assert [LABELS[label] for label in known] == [scene.label(float(t)) for t in times]
    assert set(known) == {0, 1, 2, 3}


@pytest.mark.parametrize("seen_from_s", [20.0, 55.5])
def test_who_came_late_cannot_know_what_was_brought_before(seen_from_s: float) -> None:
    differ = 0
    for seed in range(8):
        scene = Scene(seed, 32, 18)
        times = np.arange(seen_from_s, seen_from_s + 60, 0.4)
        facts = np.array([moments(scene, float(t)) for t in times])
        known = knowable_labels(times, facts[:, 0], facts[:, 1], seen_from_s)
        labels = [label_at(scene.schedule, float(t), seen_from_s=seen_from_s) for t in times]
        assert [LABELS[label] for label in known] == labels
        differ += sum(a != scene.label(float(t)) for a, t in zip(labels, times, strict=True))
    assert differ > 0


def test_maps_show_as_many_people_and_things_as_there_are() -> None:
    scene = Scene(6, 32, 18)
    for time_s in np.arange(0.0, 120.0, 1.3):
        truth, maps = scene.truth(float(time_s)), picture_targets(scene, float(time_s), GRID)
        assert (maps[0].max() > 0.5) == bool(truth.people)
        assert (maps[1].max() > 0.5) == bool(truth.objects)
        assert (maps[2].max() > 0.5) == any(person.carrying for person in truth.people)
        assert maps.min() >= 0
        assert maps.max() <= 1
        for item in truth.objects:
            row, column = int((item.y - item.height / 2) * 9), int(item.x * 16)
            assert maps[1, row, column] > 0.5


def test_evidence_says_what_was_brought_left_and_stays() -> None:
    seen = set()
    for seed in range(6):
        scene = Scene(seed, 32, 18)
        for time_s in np.arange(0.0, 120.0, 1.1):
            truth, bits = scene.truth(float(time_s)), evidence(scene, float(time_s), GRID)
            assert bool((bits & BROUGHT).any()) == (truth.brought > 0)
            assert bool((bits & LEFT).any()) == (truth.left > 0)
            assert bool((bits & STAYING).any()) == any(person.in_view_s >= 6 for person in truth.people)
            seen |= set(np.unique(bits))
    assert {BROUGHT, BROUGHT | LEFT, STAYING} <= seen


@pytest.mark.parametrize("fps", [15.0, 25.0, 30.0, 12.0, 5.0])
def test_the_sampler_takes_one_frame_of_each_period(fps: float) -> None:
    times = np.array(list(due_frames(fps, 5.0, 20.0))) / fps
    assert len(times) == 100
    assert (np.floor(times * 5 + 1e-6) == np.arange(100)).all()


def test_pictures_are_resized_as_capture_does() -> None:
    frame = Scene(1, 640, 480).frame(3)
    assert shrunk(frame, SIZE).shape == (72, 128, 3)
    camera = Camera(320, 180, 15.0, 40)
    picture = camera.picture(camera.watch(1), 3, SIZE)
    assert picture.shape == (72, 128, 3)
    assert np.abs(picture.astype(int) - shrunk(frame, SIZE)).mean() < 12


def test_pictures_of_a_scene_are_its_own_every_time() -> None:
    one, again, other = (scene_pictures(seed, 3, SIZE, GRID) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.frames, again.frames)
    np.testing.assert_array_equal(one.maps, again.maps)
    assert (one.frames != other.frames).any()
    changed = augment(one.frames, np.random.default_rng(0))
    assert changed.dtype == np.uint8
    assert 0 < np.abs(changed.astype(int) - one.frames).mean() < 60


def test_lanes_walk_forward_and_restart_with_each_scene(lanes: list[Lane]) -> None:
    walk = Walk(lanes, Memory(lanes=3, steps=16, reset=0.0, drop=1.0), GRID, 5.0, np.random.default_rng(0))
    first = walk.next()
    assert first.fresh.all()
    assert first.features.shape == (3, 16, 576)
    assert first.labels.shape == first.dt.shape == first.weight.shape == (3, 16)
    chunks = [walk.next() for _ in range(30)]
    assert 0 < np.mean([chunk.fresh for chunk in chunks]) < 0.6
    dt = np.concatenate([chunk.dt.ravel() for chunk in chunks])
    assert dt.min() > 0.1
    assert dt.max() > 0.39  # frames were lost, and dt tells
    assert np.median(dt) == pytest.approx(0.2, abs=0.05)


def test_random_resets_forget_what_came_before(lanes: list[Lane]) -> None:
    walk = Walk(lanes, Memory(lanes=3, steps=16, reset=1.0, drop=0.0), GRID, 5.0, np.random.default_rng(0))
    chunks = [walk.next() for _ in range(6)]
    assert all(chunk.fresh.all() for chunk in chunks)
    assert not all(chunk.knows.all() for chunk in chunks)
    assert all((chunk.weight[:, :10] <= 0.25).all() and (chunk.weight[:, 10:] > 0.2).any() for chunk in chunks)


def test_a_walk_depends_on_its_generator_alone(lanes: list[Lane]) -> None:
    walks = [Walk(lanes, Memory(lanes=2, steps=8), GRID, 5.0, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    chunks = [[walk.next() for _ in range(5)] for walk in walks]
    for one, again in zip(chunks[0], chunks[1], strict=True):
        np.testing.assert_array_equal(one.features, again.features)
    assert any((one.features != other.features).any() for one, other in zip(chunks[0], chunks[2], strict=True))
