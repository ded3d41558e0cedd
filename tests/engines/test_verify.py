"""Verification: passes a good bundle on every back end, and fails each way in which one can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lowering
import numpy as np
import pytest

from engines import verify as verify_module
from engines.agreement import FEATURES, LOGITS
from engines.backends import BACKENDS, installed_backends
from engines.bundle import Bundle, load_bundle
from engines.comparison import VerifyReport
from engines.engine import Array, Feeds
from engines.errors import BackendError
from engines.golden import Golden, encode_golden
from engines.manifest import StateTensor
from engines.ort import OrtEngine
from engines.reference import ReferenceEngine
from engines.state_pool import StatePool
from engines.temporal import StepResult, Temporal
from engines.verdicts import condemn
from engines.verify import verify

STEPS = 40


def failing(report: VerifyReport) -> set[str]:
    assert report.passed == all(check.passed or check.optional for check in report.checks)
    return {check.check for check in report.checks if not check.passed}


def without_hardware(report: VerifyReport) -> list[str]:
    """What was not compared, leaving out the back end that this machine may or may not have a GPU for."""
    return [sentence for sentence in report.not_compared if not sentence.startswith("tensorrt: ")]


def golden_of(bundle: Bundle, *, swapped: bool = False, shift: float = 0.0) -> Golden:
    """Answers of the tiny network in float64 numpy over one sequence, as its trainer would record them."""
    rng = np.random.default_rng(2)
    weight, bias, head = 1.5 * rng.normal(size=(10, 16)), rng.normal(size=16), 2 * rng.normal(size=(4, 3))
    source = np.random.default_rng(9)
    features = source.normal(size=(30, 5)).astype(np.float32)
    h, c, logits = np.zeros(4), np.zeros(4), []
    for each in features:
        i, f, g, o = np.split(np.concatenate([each, [0.25], c if swapped else h]) @ weight + bias, 4)
        new_c = 1 / (1 + np.exp(-f)) * (h if swapped else c) + 1 / (1 + np.exp(-i)) * np.tanh(g)
        h, c = 1 / (1 + np.exp(-o)) * np.tanh(new_c), new_c
        logits.append(h @ head)
    encoder = ReferenceEngine(bundle.read("encoder.onnx"), "tiny")
    frames = source.integers(0, 256, (3, 6, 8, 3), np.uint8)
    seen = encoder.run({"frames": frames})[FEATURES].astype(np.float32) + np.float32(shift)
    return Golden(frames, seen, features, np.full(30, 0.25, np.float32), np.array(logits, np.float32))


def test_a_good_bundle_passes_on_every_back_end(tiny: Bundle) -> None:
    told: list[str] = []
    report = verify(tiny, steps=STEPS, progress=told.append)
    assert failing(report) == set()
    assert {check.backend for check in report.checks} == set(installed_backends())
    assert (report.sha, report.cameras, report.steps) == (tiny.sha, 6, STEPS)
    assert without_hardware(report) == ["the trainer's own offline pass: the bundle has no golden.npz"]
    assert told == [
        "float64 reference",
        *(f"{part} on {name}" for name in installed_backends() for part in ("encoder", "step")),
    ]
    for name in installed_backends():
        checks = {check.check: check for check in report.checks if check.backend == name}
        assert {name for name, check in checks.items() if check.must_differ} == {
            "control: another picture",
            "control: another camera",
            "control: state dropped",
            "control: h, c swapped",
        }
        assert checks["cameras in random batches"].decisions > 3 * STEPS


def test_the_trainers_own_pass_is_compared_when_it_was_recorded(
    tiny: Bundle, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    good = write_bundle(tmp_path / "good", files={"golden.npz": encode_golden(golden_of(tiny))})
    report = verify(load_bundle(good), ["onnxruntime"], steps=STEPS)
    assert failing(report) == set()
    assert [check.check for check in report.checks if check.against == "trainer"] == ["encoder", "step, one sequence"]
    assert "openvino: not asked for" in without_hardware(report)


def test_a_state_map_that_crosses_h_and_c_is_found(
    tiny: Bundle, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    crossed = (StateTensor("h", "c_next", (4,)), StateTensor("c", "h_next", (4,)))
    files = {"golden.npz": encode_golden(golden_of(tiny))}
    report = verify(
        load_bundle(write_bundle(tmp_path / "tiny", state=crossed, files=files)), ["onnxruntime"], steps=STEPS
    )
    assert failing(report) == {"step, one sequence"}


def test_another_preprocessing_than_the_trainers_is_found(
    tiny: Bundle, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    files = {"golden.npz": encode_golden(golden_of(tiny, shift=0.01))}
    report = verify(load_bundle(write_bundle(tmp_path / "tiny", files=files)), ["onnxruntime"], steps=STEPS)
    assert failing(report) == {"encoder"}


def keep_dirt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatePool, "zero", lambda self, rows: None)


def cross_states(monkeypatch: pytest.MonkeyPatch) -> None:
    scatter = StatePool.scatter
    monkeypatch.setattr(
        StatePool,
        "scatter",
        lambda self, rows, out: scatter(self, rows, {"h_next": out["c_next"], "c_next": out["h_next"]}),
    )


def scatter_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    scatter = StatePool.scatter
    monkeypatch.setattr(StatePool, "scatter", lambda self, rows, out: scatter(self, rows[::-1], out))


def ignore_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Temporal.step
    monkeypatch.setattr(
        Temporal, "step", lambda self, rows, features, dt, keep: step(self, rows, features, dt, np.ones_like(keep))
    )


def lose_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    gather = StatePool.gather
    monkeypatch.setattr(
        StatePool,
        "gather",
        lambda self, rows: {k: v.astype(np.float16).astype(np.float32) for k, v in gather(self, rows).items()},
    )


def hide_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Temporal.step

    def blind(self: Temporal, *feeds: object) -> StepResult:
        result = step(self, *feeds)
        return StepResult(result.prob, result.logits, np.ones_like(result.ok))

    monkeypatch.setattr(Temporal, "step", blind)


STREAMS, NAN, STORED = "cameras in random batches", "one camera sends NaN", "stored and restored"
SABOTAGE = {
    "rows handed out dirty": (keep_dirt, {STREAMS, NAN, STORED}),
    "states crossed on the way back": (cross_states, {STREAMS, NAN, STORED}),
    "rows scattered to the wrong cameras": (scatter_backwards, {STREAMS, NAN}),
    "resets ignored": (ignore_keep, {STREAMS}),
    "half-precision state": (lose_precision, {STREAMS, NAN, STORED}),
    "rows gone non-finite not reported": (hide_ok, {NAN}),
}


@pytest.mark.parametrize("case", SABOTAGE)
def test_a_runtime_that_mixes_memory_up_is_found(case: str, tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage, expected = SABOTAGE[case]
    sabotage(monkeypatch)
    report = verify(tiny, ["onnxruntime"], steps=200)
    assert expected <= failing(report)
    assert failing(report) <= expected | {STREAMS, NAN, STORED}


def test_a_graph_that_lets_nan_through_is_found(
    graphs: object, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "tiny", temporal=graphs.temporal(always_ok=True)))
    report = verify(bundle, ["onnxruntime"], steps=STEPS)
    assert failing(report) == {NAN}
    (check,) = [check for check in report.checks if check.check == NAN]
    assert check.note.startswith("ok must be 0 for the row")


def test_a_back_end_that_computes_something_else_is_found(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    run = OrtEngine.run

    def off(self: OrtEngine, feeds: Feeds) -> dict[str, Array]:
        outputs = run(self, feeds)
        return outputs | ({LOGITS: outputs[LOGITS] + 2e-3} if LOGITS in outputs else {})

    monkeypatch.setattr(OrtEngine, "run", off)
    report = verify(tiny, ["onnxruntime", "openvino"], steps=STEPS)
    assert {(check.backend, check.check) for check in report.checks if not check.passed} == {
        ("onnxruntime", "step, cameras alone")
    }


def test_without_onnx_the_back_ends_are_compared_with_each_other(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = verify_module.importlib.util.find_spec
    monkeypatch.setattr(
        verify_module.importlib.util, "find_spec", lambda name: None if name == "onnx" else find_spec(name)
    )
    report = verify(tiny, ["openvino", "onnxruntime"], steps=STEPS)
    assert report.passed
    assert {check.against for check in report.checks} == {"each alone", "openvino"}
    assert report.not_compared[0] == "the float64 reference: needs the package onnx: pip install 'vidpipe[train]'"


def test_with_no_back_end_there_is_nothing_to_verify(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="no back end is installed"):
        verify(tiny)


def test_auto_means_all_that_are_installed(tiny: Bundle) -> None:
    assert {check.backend for check in verify(tiny, ["auto"], steps=8, cameras=2).checks} == set(installed_backends())


def test_a_model_without_memory_that_ignores_its_input_fails_its_controls(
    graphs: object, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "tiny", temporal=graphs.temporal(gain=0.0)))
    report = verify(bundle, ["onnxruntime"], steps=STEPS)
    assert "control: another camera" in failing(report)


def test_each_lower_precision_is_a_row_with_its_own_limit(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    lowering.install(monkeypatch, "bf16", "f16", "f8", "i8")
    told: list[str] = []
    report = verify(tiny, [lowering.NAME], steps=STEPS, precisions=None, progress=told.append)
    rows = {check.check: check for check in report.checks if check.check.startswith("encoder in ")}
    assert {name: (check.passed, check.limit) for name, check in rows.items()} == {
        "encoder in bf16": (True, 0.02),
        "encoder in i8": (False, 0.02),
    }
    assert failing(report) == {"encoder in i8"}
    assert rows["encoder in i8"].optional
    assert report.passed, "nobody asked for i8, so nobody will use it"
    assert not verify(tiny, [lowering.NAME], steps=STEPS, precisions=["i8"]).passed
    assert "encoder in i8 on onnxruntime" in told
    assert "onnxruntime in f16: this machine computes it in bf16" in report.not_compared
    assert [text for text in report.not_compared if text.startswith("onnxruntime in f8: Lowering crashed (SIGSEGV)")]


def test_only_the_wanted_precisions_are_checked(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    lowering.install(monkeypatch, "bf16", "i8")
    for wanted, expected in {("f32",): [], ("bf16",): ["encoder in bf16"], (): []}.items():
        report = verify(tiny, [lowering.NAME], steps=STEPS, precisions=wanted)
        assert [check.check for check in report.checks if check.limit == 0.02] == expected
    with pytest.raises(BackendError, match="no encoder on onnxruntime runs in 'f7': known is f32, bf16, i8"):
        verify(tiny, [lowering.NAME], steps=STEPS, precisions=["f7"])


def test_a_condemned_precision_is_a_failed_row(tiny: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lowering.install(monkeypatch, "bf16")
    condemn(BACKENDS[lowering.NAME], tiny.read("encoder.onnx"), "bf16", "the check 'encoder in bf16' failed")
    report = verify(tiny, [lowering.NAME], steps=STEPS, precisions=["bf16"])
    assert failing(report) == {"encoder in bf16"}
    assert "vidpipe build --backend onnxruntime --precision bf16" in report.checks[-1].note
