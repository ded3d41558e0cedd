"""The encoder's precision: chosen by measurement and by what the model says, remembered, and taken later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lowering
import numpy as np
import pytest

from engines import precision, precision_timing
from engines.backends import BACKENDS
from engines.bundle import ENCODER, Bundle, load_bundle
from engines.comparison import Check
from engines.encoder import Encoder
from engines.engine import Backend
from engines.errors import BackendError
from engines.precision import (
    PrecisionChoice,
    Trial,
    choose,
    forget_choice,
    keep_choice,
    recall_choice,
    remembered_precision,
)
from engines.precision_timing import choose_precision, frame_times
from engines.verdicts import condemn

ROW = BACKENDS["openvino"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vidpipe"


def verdict_on(name: str, *, passed: bool = True, note: str = "") -> Check:
    return Check(f"encoder in {name}", "x", "f32", 0.003, 0.02, 115, 1, must_differ=False, passed=passed, note=note)


def timed(**frame_ms: float) -> list[Trial]:
    return [Trial(name, name, ms) for name, ms in frame_ms.items()]


def never(name: str) -> Check:
    raise AssertionError(f"{name} is not worth a check")


def choice_of(name: str) -> PrecisionChoice:
    return PrecisionChoice(name, "openvino", "1", 8, 2, ())


def reasons(candidates: object) -> dict[str, str]:
    return {each.precision: each.reason for each in candidates}


def taken(candidates: object) -> str:
    (name,) = [each.precision for each in candidates if each.taken]
    return name


def test_the_fastest_that_is_as_good_is_taken_and_the_rest_is_not_checked() -> None:
    asked: list[str] = []

    def check(name: str) -> Check:
        asked.append(name)
        return verdict_on(name)

    candidates = choose(timed(f32=4.0, bf16=2.2, f16=2.0), check)
    assert asked == ["f16"]
    assert reasons(candidates) == {"f32": "f16 is faster", "bf16": "f16 is faster", "f16": "2.00 times as fast as f32"}
    assert taken(candidates) == "f16"
    assert [each.check for each in candidates] == [None, None, verdict_on("f16")]


def test_what_answers_differently_is_not_taken_however_fast() -> None:
    bad = {"f16": verdict_on("f16", passed=False), "bf16": verdict_on("bf16", passed=False, note="9 of 115 clips")}
    candidates = choose(timed(f32=4.0, bf16=2.2, f16=2.0), bad.__getitem__)
    assert taken(candidates) == "f32"
    assert reasons(candidates) == {
        "f32": "nothing lower is faster and as good",
        "bf16": "9 of 115 clips",
        "f16": "its answers differ too much",
    }
    second = choose(timed(f32=4.0, bf16=2.2, f16=2.0), (bad | {"bf16": verdict_on("bf16")}).__getitem__)
    assert taken(second) == "bf16"
    assert second[2].check == bad["f16"]  # why the fastest was not taken stays to be seen


@pytest.mark.parametrize(("ms", "expected"), [(3.5, "bf16"), (3.61, "f32"), (4.4, "f32")])
def test_a_gain_within_the_noise_is_none(ms: float, expected: str) -> None:
    candidates = choose(timed(f32=4.0, bf16=ms), verdict_on if expected == "bf16" else never)
    assert taken(candidates) == expected
    if expected == "f32":
        assert reasons(candidates)["bf16"] == "not 10% faster than f32"


def test_what_runs_as_something_else_or_not_at_all_is_left_out() -> None:
    trials = [Trial("f32", "f32", 4.0), Trial("f16", "bf16"), Trial("bf16", problem="OpenVINO crashed (SIGSEGV) here")]
    candidates = choose(trials, never)
    assert taken(candidates) == "f32"
    assert reasons(candidates)["f16"] == "this machine computes it in bf16"
    assert reasons(candidates)["bf16"] == "OpenVINO crashed (SIGSEGV) here"


def test_a_check_that_cannot_run_is_a_reason_and_no_error() -> None:
    def check(name: str) -> Check:
        raise BackendError("OpenVINO crashed (SIGSEGV) on temporal.onnx here")

    candidates = choose(timed(f32=4.0, bf16=2.0), check)
    assert taken(candidates) == "f32"
    assert reasons(candidates)["bf16"] == "OpenVINO crashed (SIGSEGV) on temporal.onnx here"


def test_every_precision_of_openvino_is_tried_for_real(tiny: Bundle) -> None:
    told: list[str] = []
    choice = choose_precision(tiny, "openvino", max_batch=4, progress=told.append)
    assert (choice.backend, choice.batch, choice.requests) == ("openvino", 4, 2)
    assert [each.precision for each in choice.candidates] == ["f32", *ROW.precisions]
    assert taken(choice.candidates) == choice.precision
    assert told[0] == "timing precisions"
    for each in choice.candidates:
        if each.real_precision == each.precision:
            assert each.frame_ms is not None
            assert each.frame_ms > 0
        else:
            assert (each.frame_ms, each.check, each.taken) == (None, None, False)
            assert each.reason == f"this machine computes it in {each.real_precision}"
        assert each.check is None or each.check.check == f"encoder in {each.precision}"


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A back end with every way in which a lower precision can turn out; bf16 and i8 are called fast."""
    lowering.install(monkeypatch, "i8", "bf16", "f16", "f8", "i4")
    monkeypatch.setattr(precision_timing, "frame_times", lambda encoders: [4.0, 1.0, 2.0][: len(encoders)])
    return BACKENDS[lowering.NAME]


def test_the_choice_is_made_from_engines_that_really_run(tiny: Bundle, lowered: Backend) -> None:
    choice = choose_precision(tiny, lowering.NAME)
    found = {each.precision: each for each in choice.candidates}
    assert choice.precision == "bf16"
    assert found["i8"].check is not None
    assert found["i8"].check.max_difference > 0.02
    assert found["bf16"].check is not None
    assert found["bf16"].check.max_difference == 0
    assert "crashed (SIGSEGV)" in found["f8"].reason
    assert "cannot run this graph in i4" in found["i4"].reason
    assert {name: each.frame_ms for name, each in found.items()} == {
        "f32": 4.0,
        "i8": 1.0,
        "bf16": 2.0,
        "f16": None,
        "f8": None,
        "i4": None,
    }


class Ticking:
    """An encoder that records when it is started."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log, self.requests, self.max_batch = name, log, 2, 4
        self.buffers = [np.zeros((4, 2, 2, 3), np.uint8) for _ in range(2)]

    def frames(self, request: int) -> np.ndarray:
        return self.buffers[request]

    def start(self, request: int, count: int) -> None:
        assert count == self.max_batch
        assert self.buffers[request].any()
        self.log.append(f"{self.name}{request}")

    def wait(self, request: int) -> None:
        self.log.append("wait")


def test_timing_takes_turns_to_and_fro_with_all_requests_in_flight() -> None:
    log: list[str] = []
    times = frame_times([Ticking("a", log), Ticking("b", log)], seconds=0)
    assert len(times) == 2
    once = {name: [f"{name}0", f"{name}1", "wait", "wait"] for name in "ab"}
    assert log == [each for name in "ab ab ba ab".replace(" ", "") for each in once[name]]


def test_a_choice_is_remembered_for_this_model_back_end_and_machine(
    tiny: Bundle,
    graphs: object,
    write_bundle: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert recall_choice(tiny, ROW) is None
    keep_choice(tiny, ROW, choice_of("bf16"))
    assert recall_choice(tiny, ROW) == choice_of("bf16")
    assert remembered_precision(tiny, ROW) == "bf16"
    renamed = load_bundle(write_bundle(tmp_path / "same", name="other"))
    assert remembered_precision(renamed, ROW) == "bf16"  # the graphs are what was measured
    other_step = load_bundle(write_bundle(tmp_path / "step", temporal=graphs.temporal(gain=1.0)))
    assert remembered_precision(other_step, ROW) == "f32"
    assert remembered_precision(tiny, BACKENDS["onnxruntime"]) == "f32"
    for name, value in {"release": lambda _: "9.9", "cpu": lambda: "another"}.items():
        with monkeypatch.context() as patch:
            patch.setattr(precision, name, value)
            assert remembered_precision(tiny, ROW) == "f32"
    forget_choice(tiny, ROW)
    forget_choice(tiny, ROW)
    assert remembered_precision(tiny, ROW) == "f32"


@pytest.mark.parametrize("text", ["", "no json", '{"precision": 7}', "[]"])
def test_a_damaged_memory_is_none(tiny: Bundle, own_cache: Path, text: str) -> None:
    keep_choice(tiny, ROW, choice_of("bf16"))
    (path,) = (own_cache / "precisions").iterdir()
    path.write_text(text)
    assert recall_choice(tiny, ROW) is None
    assert remembered_precision(tiny, ROW) == "f32"


def test_a_precision_that_the_back_end_no_longer_has_is_not_taken(tiny: Bundle) -> None:
    keep_choice(tiny, ROW, choice_of("f8"))
    assert remembered_precision(tiny, ROW) == "f32"


def test_what_was_condemned_since_is_not_taken(tiny: Bundle) -> None:
    keep_choice(tiny, ROW, choice_of("bf16"))
    condemn(ROW, tiny.read(ENCODER), "bf16", "the check 'encoder in bf16' failed")
    assert remembered_precision(tiny, ROW) == "f32"


def test_auto_is_f32_until_something_else_was_chosen(tiny: Bundle, lowered: Backend) -> None:
    with Encoder.open(tiny, lowering.NAME, precision="auto") as encoder:
        assert encoder.precision == "f32"
    keep_choice(tiny, lowered, choice_of("bf16"))
    for backend in (lowering.NAME, "auto"):
        with Encoder.open(tiny, backend, precision="auto") as encoder:
            assert encoder.precision == ("bf16" if encoder.backend == lowering.NAME else "f32")
    with Encoder.open(tiny, lowering.NAME) as encoder:
        assert encoder.precision == "f32"  # as asked


def test_a_choice_that_no_longer_loads_gives_way_to_f32(
    tiny: Bundle, lowered: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    keep_choice(tiny, lowered, choice_of("f8"))
    with caplog.at_level(logging.WARNING, "vidpipe"), Encoder.open(tiny, lowering.NAME, precision="auto") as encoder:
        assert encoder.precision == "f32"
    (record,) = caplog.records
    assert record.getMessage().startswith("f8 was chosen by vidpipe build, but now Lowering crashed (SIGSEGV)")
    with pytest.raises(BackendError, match="crashed"):
        Encoder.open(tiny, lowering.NAME, precision="f8")


def test_the_memory_of_a_gpu_back_end_is_by_gpu(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(BACKENDS["tensorrt"], package="numpy")
    keep_choice(tiny, row, choice_of("f16"))
    assert remembered_precision(tiny, row) == "f16"
    monkeypatch.setattr(precision, "driver", lambda: "another GPU")
    assert remembered_precision(tiny, row) == "f32"
