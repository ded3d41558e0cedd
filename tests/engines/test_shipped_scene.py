"""The shipped bundle `scene`: small, equal on every back end, right on scenes it never saw, and only by memory."""

from __future__ import annotations

import numpy as np
import pytest

from engines.bundle import Bundle, load_bundle
from engines.encoder import Encoder
from engines.scene import LABELS
from engines.temporal import Temporal
from engines.training.scene.judging import cut, judged
from engines.training.scene.metrics import Judged, Tally, clip_tallies, memory_tally
from engines.training.scene.recipe import Evaluation
from engines.training.scene.video import film_h264
from engines.verify import verify

# the first four seeds from 7,000,000 on in which something stands for a minute after its bringer has gone
UNSEEN = (7000000, 7000002, 7000017, 7000023)
SECONDS = 130.0
WINDOW = 16


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle("scene")


def test_it_is_small_and_says_what_it_is(bundle):
    assert sum(file.stat().st_size for file in bundle.folder.iterdir()) <= 3_000_000
    assert bundle.manifest.labels == LABELS
    assert bundle.manifest.metrics["clip_accuracy"] >= 0.95
    assert "random" not in bundle.manifest.summary
    assert "2 cores" in (bundle.folder / "card.md").read_text()


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_six_cameras_in_random_batches_get_what_each_gets_alone(bundle, backend):
    report = verify(bundle, [backend], steps=100, cameras=6, seed=1)
    assert report.passed, report
    assert any(check.must_differ for check in report.checks)
    assert all(check.limit <= 1e-4 for check in report.checks if check.decisions and not check.must_differ)


@pytest.fixture(scope="module")
def answers(bundle) -> dict[str, list[Judged]]:
    """Six unseen scenes through H.264 and the bundle's graphs: with the state carried, and in windows from zero."""
    how = Evaluation(seconds=SECONDS, fps=5.0, width=640, height=360)
    size = bundle.manifest.input.height, bundle.manifest.input.width
    ways: dict[str, list[Judged]] = {"carried": [], "windows": []}
    with (
        Encoder.open(bundle, "openvino", max_batch=8, requests=1) as encoder,
        Temporal.open(bundle, "openvino", capacity=1 + round(SECONDS * bundle.manifest.input.fps)) as temporal,
    ):
        for seed in UNSEEN:
            film = film_h264(seed, how, bundle.manifest.input.fps, size)
            features = encode(encoder, film.frames)
            dt = np.diff(film.times_s, prepend=film.times_s[0] - 0.2)
            for way, walk in (("carried", carried), ("windows", windows)):
                clips = cut(walk(temporal, features, dt), film.times_s, bundle.manifest.clip, bundle.manifest.input.fps)
                ways[way].append(judged(seed, SECONDS, clips))
    return ways


def encode(encoder: Encoder, frames: np.ndarray) -> np.ndarray:
    parts = []
    for at in range(0, len(frames), encoder.max_batch):
        batch = frames[at : at + encoder.max_batch]
        encoder.frames(0)[: len(batch)] = batch
        encoder.start(0, len(batch))
        parts.append(encoder.wait(0))
    return np.concatenate(parts)


def carried(temporal: Temporal, features: np.ndarray, dt: np.ndarray) -> np.ndarray:
    row = temporal.pool.acquire("carried")
    steps = [temporal.step([row], features[i : i + 1], dt[i : i + 1], [i > 0]).prob[0] for i in range(len(dt))]
    temporal.pool.release(row)
    return np.stack(steps)


def windows(temporal: Temporal, features: np.ndarray, dt: np.ndarray) -> np.ndarray:
    ends = np.arange(4, len(dt), 5)  # a clip's answer is that of its last frame; the others are not asked for
    rows = [temporal.pool.acquire(int(end)) for end in ends]
    answers = np.zeros((len(dt), len(LABELS)), np.float32)
    for back in range(WINDOW - 1, -1, -1):
        frames = np.maximum(ends - back, 0)
        answers[ends] = temporal.step(rows, features[frames], dt[frames], np.full(len(ends), back < WINDOW - 1)).prob
    for row in rows:
        temporal.pool.release(row)
    return answers


def accuracy(scenes: list[Judged]) -> float:
    return clip_tallies(scenes, LABELS)[0].share


def test_it_is_right_on_scenes_it_never_saw(answers):
    assert accuracy(answers["carried"]) >= 0.95


def test_it_remembers_what_was_left_a_minute_ago(answers):
    tally = memory_tally(answers["carried"], LABELS, "left_behind")
    assert tally.total >= 3
    assert tally.share >= 0.95


def test_the_same_weights_in_windows_fail(answers):
    assert accuracy(answers["windows"]) < accuracy(answers["carried"]) - 0.15
    assert memory_tally(answers["windows"], LABELS, "left_behind") != Tally()
    assert memory_tally(answers["windows"], LABELS, "left_behind").share < 0.5
