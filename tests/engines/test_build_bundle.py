"""`build`: what verifies is ready, what does not is refused from then on, and precision is judged by decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fake_gpu
import numpy as np
import pytest

from engines import trt_cache, verify_precision
from engines.backends import BACKENDS
from engines.build import build
from engines.bundle import Bundle, load_bundle
from engines.comparison import Answers
from engines.encoder import Encoder
from engines.errors import BackendError
from engines.temporal import Temporal


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


def test_a_lower_precision_is_judged_by_what_the_model_says(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    report = build(tiny, "openvino", precision="bf16", steps=40)
    check = report.precision_check
    assert check is not None
    assert (check.check, check.against, check.limit) == ("encoder in bf16", "f32", 0.02)
    assert check.decisions == 3 * 20 * 8
    assert report.passed == check.passed


@pytest.mark.parametrize(
    ("shift", "flips", "passed"), [(0.0, 0, True), (0.01, 2, True), (0.01, 10, False), (0.03, 0, False)]
)
def test_the_limits_of_a_lower_precision(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch, shift: float, flips: int, passed: bool
) -> None:
    """300 decisions: 2 are less than 1 %, 10 are more."""
    prob = np.tile([0.5, 0.495, 0.005], (300, 1))
    low = prob + np.array([-shift / 2, shift / 2, 0]) if flips == 0 else prob.copy()
    if flips:
        low[:flips] = [0.49, 0.505, 0.005]
    answers = iter([Answers(low, low), Answers(prob, prob)])
    monkeypatch.setattr(verify_precision, "_films", lambda bundle: [])
    monkeypatch.setattr(verify_precision, "_features", lambda *_: [])
    monkeypatch.setattr(verify_precision, "_answers", lambda *_: next(answers))
    check = verify_precision.check_precision(tiny, "openvino", "bf16")
    assert check.passed == passed
    if flips == 10:
        assert check.note == "10 of 300 decisions differ"


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
