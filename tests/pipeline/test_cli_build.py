"""`vidpipe build`: what is printed, for people and for programs, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import lowering
import pytest
import typer
from typer.testing import CliRunner, Result

from engines import precision_timing
from engines import verify as verification
from engines.errors import BackendError, VidpipeError
from engines.temporal import Temporal
from engines.verify_step import StepResult
from pipeline.cli.build import build

app = typer.Typer()
app.command()(build)


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(verification, "_REFERENCE_STEPS", 5)  # float64 in Python takes a second per hundred steps


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, VidpipeError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_people_read_what_was_built_and_why() -> None:
    result = call("scene", "--backend", "onnxruntime", "--steps", 100)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("scene ")
    assert "on onnxruntime" in lines[0]
    assert lines[-1] == "ready: vidpipe run starts without building"


def test_programs_read_json() -> None:
    result = call("scene", "--backend", "onnxruntime", "--steps", 100, "--json")
    report = json.loads(result.stdout)
    assert report["passed"] is True
    assert report["verification"]["checks"]
    assert (report["max_batch"], report["cameras"]) == (8, 16)


def test_the_candidates_for_the_precision_are_shown_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    lowering.install(monkeypatch, "bf16", "f8")
    monkeypatch.setattr(precision_timing, "frame_times", lambda encoders: [4.0, 2.0])
    lines = call("scene", "--backend", lowering.NAME, "--steps", 30).stdout.splitlines()
    rows = {line.split()[0]: line for line in lines if line.startswith(("f32", "bf16", "f8", "precision"))}
    assert "ms a frame, 2 x 8" in rows["precision"]
    assert rows["f32"].split() == ["f32", "4.000", "no:", "bf16", "is", "faster"]
    assert rows["bf16"].split()[:4] == ["bf16", "2.000", "0.0e+00", "0/115"]
    assert "taken: 2.00 times as fast as f32" in rows["bf16"]
    assert "no: Lowering crashed (SIGSEGV) on encoder.onnx of scene" in rows["f8"]
    assert "encoder bf16, step f32" in lines[2]
    report = json.loads(call("scene", "--backend", lowering.NAME, "--steps", 30, "--json").stdout)
    assert [each["taken"] for each in report["choice"]["candidates"]] == [False, True, False]


def test_what_does_not_verify_fails_and_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Temporal.step

    def off(self: Temporal, *arguments: object) -> StepResult:
        result = real(self, *arguments)  # type: ignore[arg-type]
        result.prob[:] = result.prob[::-1].mean()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Temporal, "step", off)
        result = call("scene", "--backend", "onnxruntime", "--steps", 100)
    assert result.exit_code == 1
    assert "FAILED     cameras in random batches against each alone" in result.stdout
    assert result.stdout.splitlines()[-1] == "refused: vidpipe run will not use it here"


def test_an_unknown_back_end_is_one_sentence() -> None:
    with pytest.raises(BackendError, match="no back end 'tensorflow'"):
        call("scene", "--backend", "tensorflow")
