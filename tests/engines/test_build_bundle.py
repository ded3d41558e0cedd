"""`build`: what verifies is ready, what does not is refused from then on, and precision is judged by decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fake_gpu
import lowering
import numpy as np
import pytest

from engines import precision_timing, trt_cache
from engines.backends import BACKENDS
from engines.build import build
from engines.bundle import Bundle, load_bundle
from engines.comparison import Row
from engines.encoder import Encoder
from engines.engine import Backend
from engines.errors import BackendError
from engines.manifest import Manifest
from engines.precision import PrecisionChoice, keep_choice, recall_choice, remembered_precision
from engines.temporal import Temporal
from engines.verify_precision import judge_precision


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def bad_step(graphs: object, write_bundle: Callable[..., Path], tmp_path: Path) -> Bundle:
    """Ignores its features, so that the control with another camera does not differ."""
    return load_bundle(write_bundle(tmp_path / "bad", temporal=graphs.temporal(gain=0.0)))


def test_a_good_bundle_is_ready(tiny: Bundle) -> None:
    told: list[str] = []
    report = build(tiny, "onnxruntime", steps=30, progress=told.append)
    assert report.passed
    assert (report.backend, report.why, report.precision) == ("onnxruntime", "named by the user", "f32")
    assert report.verification.passed
    assert told[0] == "compiling"
    assert "step on onnxruntime" in told


def test_auto_says_what_it_took(tiny: Bundle) -> None:
    report = build(tiny, steps=10)
    assert "picked by auto" in report.why
    assert report.backend == report.verification.checks[0].backend


def test_what_does_not_verify_is_refused_until_it_does(bad_step: Bundle, tiny: Bundle) -> None:
    report = build(bad_step, "onnxruntime", steps=30)
    assert not report.passed
    with pytest.raises(BackendError, match=r"did not verify on ONNX Runtime .* in f32 here \(the check 'control"):
        Temporal.open(bad_step, "onnxruntime")
    Encoder.open(bad_step, "onnxruntime").close()  # only the step was condemned
    Temporal.open(bad_step, "openvino").close()  # and only there
    Temporal.open(tiny, "onnxruntime").close()
    with Temporal.open(bad_step, "auto") as other:
        assert other.backend == "openvino"
    assert not build(bad_step, "onnxruntime", steps=30).passed  # tried afresh, condemned afresh


def test_a_lower_precision_is_judged_by_what_the_model_says(tiny: Bundle) -> None:
    report = build(tiny, "openvino", precision="bf16", steps=40)
    check = report.precision_check
    assert check is not None
    assert (check.check, check.against, check.limit) == ("encoder in bf16", "f32", 0.02)
    assert check.decisions == 5 * 23  # clips of 2 s that end at each second of 24, of five films
    assert report.passed == check.passed


@pytest.mark.parametrize(
    ("cameras", "shift", "flips", "passed"),
    [(1, 0.0, 0, True), (1, 0.015, 0, True), (1, 0.021, 0, False), (10, 0.01, 2, True), (10, 0.01, 3, False)],
)
def test_the_limits_of_a_lower_precision(
    manifest: Manifest, cameras: int, shift: float, flips: int, passed: bool
) -> None:
    """23 clips a camera: of ten cameras' 230, 2 are less than 1 %, and 3 are more."""
    expected = np.tile(np.float32([0.5, 0.497, 0.003]), (cameras, 24 * 8, 1))
    found = expected + np.float32([0, 0, shift])
    for flipped in range(flips):
        found[flipped, 80:96] = [0.498, 0.499, 0.003]  # all of one clip; half of those beside it, which is not enough
    check = judge_precision(Row("encoder in bf16", "x", "f32"), found, expected, manifest)
    assert check.passed == passed
    assert (check.decisions, check.decisions_changed) == (23 * cameras, flips)
    assert check.max_difference == pytest.approx(shift, abs=1e-6)
    assert check.note == ("3 of 230 clips are labelled differently" if flips == 3 else "")


def test_a_plan_is_built_kept_and_used(monkeypatch: pytest.MonkeyPatch, tiny: Bundle) -> None:
    monkeypatch.setitem(BACKENDS, "tensorrt", replace(BACKENDS["tensorrt"], may_crash=False))
    for machine in fake_gpu.install(monkeypatch):
        report = build(tiny, steps=40, precision="f16")
        assert report.passed
        assert (report.backend, report.device, report.precision) == ("tensorrt", fake_gpu.NAME, "f16")
        built = len(machine.builds)
        assert len(list(trt_cache.plans_folder().glob("*.plan"))) == built
        for cameras in (1, 5, 16):
            Encoder.open(tiny, max_batch=min(8, cameras), precision="f16").close()
            Temporal.open(tiny, capacity=cameras).close()
        assert len(machine.builds) == built


def test_a_gpu_is_timed_in_each_precision_too(monkeypatch: pytest.MonkeyPatch, tiny: Bundle) -> None:
    monkeypatch.setitem(BACKENDS, "tensorrt", replace(BACKENDS["tensorrt"], may_crash=False))
    for _ in fake_gpu.install(monkeypatch):
        report = build(tiny, steps=30)
        assert report.choice is not None
        assert (report.backend, report.choice.requests) == ("tensorrt", 2)
        assert [each.real_precision for each in report.choice.candidates] == ["f32", "f16"]
        assert all(each.frame_ms for each in report.choice.candidates)
        with Encoder.open(tiny, precision="auto") as encoder:
            assert (encoder.backend, encoder.precision) == ("tensorrt", report.choice.precision)


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Backend]:
    """`lowered(i8=1.0, bf16=2.0)`: a back end with these precisions, which take so many ms where f32 takes 4."""

    def install(**frame_ms: float) -> Backend:
        lowering.install(monkeypatch, *frame_ms)
        monkeypatch.setattr(precision_timing, "frame_times", lambda encoders: [4.0, *frame_ms.values()])
        return BACKENDS[lowering.NAME]

    return install


def test_what_was_measured_best_is_verified_and_taken_from_then_on(
    tiny: Bundle, lowered: Callable[..., Backend]
) -> None:
    row = lowered(bf16=2.0)
    report = build(tiny, lowering.NAME, steps=30)
    assert (report.passed, report.precision) == (True, "bf16")
    assert report.choice is not None
    assert report.choice == recall_choice(tiny, row)
    assert report.precision_check is report.choice.candidates[1].check
    with Encoder.open(tiny, lowering.NAME, precision="auto") as encoder:
        assert encoder.precision == "bf16"
    lowered(bf16=5.0)
    assert build(tiny, lowering.NAME, steps=30).precision == "f32"
    with Encoder.open(tiny, lowering.NAME, precision="auto") as encoder:
        assert encoder.precision == "f32"  # the latest measurement counts


def test_a_fast_precision_with_wrong_answers_is_condemned_and_f32_passes(
    tiny: Bundle, lowered: Callable[..., Backend]
) -> None:
    row = lowered(i8=1.0)
    report = build(tiny, lowering.NAME, steps=30)
    assert (report.passed, report.precision, report.precision_check) == (True, "f32", None)
    assert remembered_precision(tiny, row) == "f32"
    with pytest.raises(BackendError, match=r"did not verify on ONNX Runtime .* in i8 here"):
        Encoder.open(tiny, lowering.NAME, precision="i8")
    again = build(tiny, lowering.NAME, steps=30)  # whoever names the back end wants it tried afresh
    assert again.choice is not None
    assert again.choice.candidates[1].check is not None


def test_a_named_precision_measures_and_changes_nothing(tiny: Bundle, lowered: Callable[..., Backend]) -> None:
    row = lowered(bf16=2.0)
    assert build(tiny, lowering.NAME, steps=30, precision="bf16").choice is None
    assert recall_choice(tiny, row) is None
    build(tiny, lowering.NAME, steps=30)
    assert build(tiny, lowering.NAME, steps=30, precision="f32").precision == "f32"
    assert remembered_precision(tiny, row) == "bf16"


def test_a_build_that_fails_forgets_what_an_earlier_one_chose(
    bad_step: Bundle, lowered: Callable[..., Backend]
) -> None:
    row = lowered(bf16=2.0)
    keep_choice(bad_step, row, PrecisionChoice("bf16", lowering.NAME, "1", 8, 2, ()))
    assert not build(bad_step, lowering.NAME, steps=30).passed
    assert recall_choice(bad_step, row) is None
