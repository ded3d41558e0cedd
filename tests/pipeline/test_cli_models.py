"""`vidpipe models` and `vidpipe verify`: what is printed, for people and for programs, and the exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import lowering
import pytest
import typer
from further_bundle import write_further_bundle
from typer.testing import CliRunner, Result

from engines.bundle import load_bundle
from engines.errors import ModelError, VidpipeError
from pipeline.cli.models import models
from pipeline.cli.verify import verify

app = typer.Typer()
app.command()(models)
app.command()(verify)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, VidpipeError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    folder = tmp_path / "bundles" / "scene"
    shutil.copytree(load_bundle("scene").folder, folder)
    path = folder / "temporal.onnx"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    return folder


def test_models_says_what_a_program_needs_to_know() -> None:
    (line,) = [line for line in call("models", "--json").stdout.splitlines() if json.loads(line)["name"] == "scene"]
    entry, manifest = json.loads(line), load_bundle("scene").manifest
    assert entry["intact"] is True
    assert tuple(entry["labels"]) == manifest.labels
    assert (entry["width"], entry["height"], entry["fps"]) == (
        manifest.input.width,
        manifest.input.height,
        manifest.input.fps,
    )
    floats = 0
    for state in manifest.state:
        count = 1
        for length in state.shape:
            count *= length
        floats += count
    assert entry["state_bytes"] == 4 * floats
    assert entry["size_bytes"] < 3_000_000
    assert entry["metrics"] == manifest.metrics


def test_models_is_readable() -> None:
    result = call("models", "scene")
    assert result.exit_code == 0
    assert result.stdout.startswith("scene ")
    assert ", intact" in result.stdout
    for part in ("idle, passing, loitering, left_behind", "bytes per camera", "frames/s", " MB in "):
        assert part in result.stdout


def test_models_names_what_is_read_beside_the_video(tmp_path: Path) -> None:
    folder = write_further_bundle(tmp_path / "listener")
    assert "  beside   audio[2] (at most 0.5 s old), door[1] (at most 1 s old)\n" in call("models", folder).stdout
    entry = json.loads(call("models", "--json", folder).stdout)
    assert entry["further"][0] == {"name": "audio", "size": 2, "max_age_s": 0.5}


def test_models_shows_a_damaged_bundle_and_fails_when_it_was_named(damaged: Path) -> None:
    result = call("models", damaged)
    assert result.exit_code == 1
    assert "damaged or missing: bundle scene: temporal.onnx is damaged" in result.stdout
    entry = json.loads(call("models", "--json", damaged).stdout)
    assert entry["intact"] is False
    assert "temporal.onnx is damaged" in entry["problem"]


def test_models_goes_on_after_one_that_is_missing() -> None:
    result = call("models", "nothing-here", "scene")
    assert result.exit_code == 1
    assert "no model 'nothing-here'" in result.stdout
    assert ", intact" in result.stdout


def test_verify_prints_a_verdict_and_json(tmp_path: Path) -> None:
    result = call("verify", "scene", "--steps", 8, "--cameras", 2)
    assert result.exit_code == 0, result.stdout
    for part in ("cameras in random batches", "control: state dropped", "openvino", "onnxruntime", "8 steps: verified"):
        assert part in result.stdout
    assert "\x1b" not in result.stdout
    report = json.loads(call("verify", "scene", "--steps", 8, "--backend", "onnxruntime", "--json").stdout)
    assert report["passed"] is True
    assert {check["backend"] for check in report["checks"]} == {"onnxruntime"}
    assert "openvino: not asked for" in report["not_compared"]


def test_verify_runs_each_precision_or_only_those_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lowering.install(monkeypatch, "bf16", "i8")
    every = call("verify", "scene", "--steps", 8, "--cameras", 2, "--backend", lowering.NAME)
    assert every.exit_code == 0, "nobody asked for i8"
    rows = {line[: line.index("  ")]: line for line in every.stdout.splitlines() if line.startswith("encoder in ")}
    assert rows["encoder in bf16"].split()[3:] == ["f32", "0.0e+00", "<=", "2e-02", "0/115", "close"]
    assert "too coarse, not used" in rows["encoder in i8"]
    named = call("verify", "scene", "--steps", 8, "--cameras", 2, "--backend", lowering.NAME, "--precision", "i8")
    assert named.exit_code == 1
    assert "FAILED" in named.stdout
    one = call("verify", "scene", "--steps", 8, "--cameras", 2, "--backend", lowering.NAME, "--precision", "bf16")
    assert one.exit_code == 0


def test_verify_fails_with_status_1_when_a_check_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.state_pool.StatePool.scatter", lambda self, rows, outputs: None)
    result = call("verify", "scene", "--steps", 30, "--backend", "onnxruntime")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout
    assert "checks failed" in result.stdout


def test_verify_refuses_a_damaged_bundle(damaged: Path) -> None:
    with pytest.raises(ModelError, match=r"temporal\.onnx is damaged"):
        call("verify", damaged)


def test_verify_refuses_an_unknown_back_end() -> None:
    with pytest.raises(ModelError, match="no back end 'tensorflow'"):
        call("verify", "scene", "--backend", "tensorflow")
