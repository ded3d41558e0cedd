"""`vidpipe evaluate`: what is printed, for people and for programs, and one sentence for what a user got wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest
import typer
import videos
from typer.testing import CliRunner, Result

from engines.bundle import load_bundle
from engines.errors import BackendError, ConfigError, DataError, ModelError, VidpipeError
from pipeline.cli.evaluate import evaluate

app = typer.Typer()
app.command()(evaluate)


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, VidpipeError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips with labels of the shipped scene model, three groups, two splits."""
    folder = tmp_path_factory.mktemp("clips")
    rows = ["path,label,split,group"]
    for number in range(6):
        videos.write_video(folder / f"clip{number}.mp4", 45, width=128, height=72)
        rows.append(f"clip{number}.mp4,{('idle', 'passing')[number % 2]},{'ab'[number // 4]},g{number // 2}")
    path = folder / "manifest.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_program_gets_one_json_object(manifest: Path) -> None:
    found = json.loads(call("scene", "--data", manifest, "--json", "--bootstrap", 20, "--threads", 1).stdout)
    assert (found["model"]["name"], found["data"]["clips"], found["draws"]) == ("scene", 6, 20)
    assert 0 <= found["figures"]["accuracy"]["value"] <= 1
    assert found["figures"]["auc"]["value"] is None
    assert found["agreement"] == {**found["agreement"], "compared": False, "why": "the bundle carries no weights.npz"}


def test_people_get_the_verdict_first_and_a_report(manifest: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "out" / "report.html"
    options = ["--split", "b", "--bootstrap", 20, "--report", page, "--threads", 1]
    lines = call("scene", "--data", manifest, *options).stdout.splitlines()
    assert "baseline" in lines[0].lower()
    assert any(line.startswith("clip accuracy") for line in lines)
    assert any("2 videos, 2 clips (1 idle, 1 passing, 0 loitering, 0 left_behind)" in line for line in lines)
    assert any("not compared: the bundle carries no weights.npz" in line for line in lines)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["--split", "test"], DataError, "no split 'test'"),
        (["--backend", "openvin"], BackendError, "openvino"),
        (["--background", "nobody"], DataError, "nobody"),
    ],
)
def test_what_is_wrong_is_one_sentence(manifest: Path, arguments: list[str], error: type, said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        call("scene", "--data", manifest, *arguments)
    assert "\n" not in str(caught.value)


def test_a_label_that_the_model_does_not_know(manifest: Path, tmp_path: Path) -> None:
    wrong = manifest.with_name("wrong.csv")
    wrong.write_text(manifest.read_text().replace("passing", "pasing"))
    with pytest.raises(DataError, match=r"pasing.*passing"):
        call("scene", "--data", wrong)


def test_a_model_or_data_that_is_not_there(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="scene"):
        call("scen", "--data", manifest)
    with pytest.raises(DataError, match="no labelled video"):
        call("scene", "--data", tmp_path / "none.csv")


def test_a_report_that_cannot_be_written_is_found_out_first(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("engines.evaluation.evaluate.evaluate", lambda *_: pytest.fail("it was evaluated"))
    with pytest.raises(ConfigError, match="cannot be written"):
        call("scene", "--data", manifest, "--report", "/dev/null/report.html")


@pytest.mark.parametrize(
    ("recipe", "options", "judged"),
    [
        ({"background": "idle"}, [], True),
        ({"background": "idle"}, ["--background", ""], False),
        ({"path": "clips"}, [], False),
    ],
)
def test_unmarked_time_means_what_it_meant_in_training(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, str], options: list[str], judged: bool
) -> None:
    shipped = load_bundle("scene")
    training = {**shipped.manifest.training, "recipe": {"data": recipe}}
    trained = dataclasses.replace(shipped, manifest=msgspec.structs.replace(shipped.manifest, training=training))
    monkeypatch.setattr("engines.bundle.load_bundle", lambda _: trained)
    marked = manifest.with_name("marked.csv")
    marked.write_text("path,label,start,end\nclip0.mp4,passing,0,1\nclip1.mp4,passing,0,1\nclip2.mp4,loitering,,\n")
    found = json.loads(call("scene", "--data", marked, "--json", "--bootstrap", 0, "--threads", 1, *options).stdout)
    assert next(each["clips"] for each in found["labels"] if each["label"] == "idle") == (4 if judged else 0)
