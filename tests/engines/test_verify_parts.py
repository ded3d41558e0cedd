"""What verification is made of: traffic, comparison, the float64 reference, and recorded answers."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines.agreement import FEATURES
from engines.arrivals import arrivals
from engines.backends import open_engines
from engines.bundle import Bundle, load_bundle
from engines.comparison import Answers, Row, compare_answers, compare_features, difference
from engines.engine import EngineOptions
from engines.errors import ModelError
from engines.golden import Golden, encode_golden, read_golden
from engines.manifest import ClipRule, FrameInput
from engines.reference import ReferenceEngine
from engines.verify_precision import judge_precision

GOLDEN_ANSWERS = Golden(
    frames=np.zeros((2, 6, 8, 3), np.uint8),
    frame_features=np.zeros((2, 5), np.float32),
    features=np.ones((30, 5), np.float32),
    dt=np.ones(30, np.float32),
    logits=np.zeros((30, 3), np.float32),
)


def test_traffic_is_ragged_complete_and_in_order() -> None:
    traffic = arrivals(
        np.random.default_rng(0), np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32), 6, 300
    )
    lengths = [len(stream) for stream in traffic.streams]
    assert lengths[0] == 300
    assert len(set(lengths)) > 1
    assert min(lengths) >= 150
    assert all(len(set(batch)) == len(batch) for batch in traffic.batches)
    assert [sum(camera in batch for batch in traffic.batches) for camera in range(6)] == lengths
    assert {len(batch) for batch in traffic.batches} == {1, 2, 3, 4, 5, 6}
    assert any(list(batch) != sorted(batch) for batch in traffic.batches)
    assert 0 < sum(stream.fresh.sum() for stream in traffic.streams) < 60


def test_what_is_not_finite_or_too_far_never_passes() -> None:
    one, nan = np.ones((2, 3)), np.full((2, 3), np.nan)
    assert difference(one, nan) == math.inf
    assert difference(100 * one, 101 * one) == pytest.approx(1 / 101)
    assert difference(np.zeros((0, 3)), np.zeros((0, 3))) == 0
    for must_differ in (False, True):
        row = Row("c", "b", "a", must_differ=must_differ)
        assert not compare_features(row, one, nan).passed
        assert not compare_features(row, nan, nan).passed
    flipped = compare_answers(
        Row("c", "b", "a"), Answers(np.eye(3)[:2], np.zeros((2, 3))), Answers(np.eye(3)[1:], np.zeros((2, 3)))
    )
    assert (flipped.decisions, flipped.decisions_changed, flipped.passed) == (2, 2, False)
    assert not compare_features(Row("c", "b", "a", must_differ=True), one, one).passed


def test_the_reference_is_float64_and_agrees_with_numpy(tiny: Bundle) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), np.uint8)
    answer = ReferenceEngine(tiny.read("encoder.onnx"), "tiny").run({"frames": frames})[FEATURES]
    assert answer.dtype == np.float64
    rng = np.random.default_rng(1)
    weight, bias = (rng.normal(size=shape).astype(np.float32).astype(np.float64) for shape in ((3, 5), 5))
    expected = np.tanh(frames.astype(np.float64).mean((1, 2)) / 64 @ weight + bias)
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-14)
    (engine,) = open_engines(tiny.read("encoder.onnx"), "onnxruntime", [EngineOptions("tiny")]).engines
    assert np.abs(engine.run({"frames": frames})[FEATURES] - expected).max() > 1e-14  # so the test can see float32


def without_array(golden: Golden) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, frames=golden.frames)
    return buffer.getvalue()


def with_objects(golden: Golden) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, frames=np.array([{}], dtype=object), frame_features=1, features=1, dt=1, logits=1)
    return buffer.getvalue()


BAD_GOLDEN = {
    "no archive": (lambda g: b"nothing", "golden.npz cannot be read"),
    "an array missing": (without_array, "golden.npz cannot be read"),
    "other features": (
        lambda g: encode_golden(replace(g, features=g.features[:, :4])),
        r"features as float32 \[30, 4\], expected float32 \[30, 5\]",
    ),
    "pictures as floats": (lambda g: encode_golden(replace(g, frames=g.frames / 255)), "frames as float64"),
    "a pickle inside": (with_objects, "golden.npz cannot be read"),
}


@pytest.mark.parametrize("case", BAD_GOLDEN)
def test_recorded_answers_that_cannot_be_right_are_refused(
    case: str, tiny: Bundle, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    make, message = BAD_GOLDEN[case]
    files = {"golden.npz": make(GOLDEN_ANSWERS)}
    bundle = load_bundle(write_bundle(tmp_path / "tiny", files=files))
    with pytest.raises(ModelError, match=message) as refused:
        read_golden(bundle)
    assert "bundle tiny: golden.npz" in str(refused.value)


def test_recorded_answers_come_back_as_written(write_bundle: Callable[..., Path], tmp_path: Path, tiny: Bundle) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "tiny", files={"golden.npz": encode_golden(GOLDEN_ANSWERS)}))
    golden = read_golden(bundle)
    assert golden is not None
    np.testing.assert_array_equal(golden.features, GOLDEN_ANSWERS.features)
    assert golden.frames.shape == (2, 6, 8, 3)
    assert read_golden(tiny) is None


@pytest.mark.parametrize(("turned", "passed"), [(1, True), (2, False)])
def test_a_precision_may_label_one_clip_in_a_hundred_differently(tiny: Bundle, turned: int, passed: bool) -> None:
    """However little its probabilities differ."""
    manifest = msgspec.structs.replace(
        tiny.manifest, input=FrameInput(6, 8, 1.0), clip=ClipRule(length_s=1.0, stride_s=1.0)
    )
    expected = np.tile(np.array([0.34, 0.33, 0.33], np.float32), (1, 100, 1))
    found = expected.copy()
    found[0, :turned] = [0.33, 0.34, 0.33]
    check = judge_precision(Row("c", "b", "a"), found, expected, manifest)
    assert (check.decisions, check.decisions_changed, check.passed) == (100, turned, passed)
    assert check.max_difference < check.limit
    assert ("2 of 100 clips are labelled differently" in check.note) is not passed
