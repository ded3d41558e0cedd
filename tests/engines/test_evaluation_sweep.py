"""A sweep: what each combination is, that it is trained once, and which of them is worth its time."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("sklearn")
pytest.importorskip("tensorboard")
pytest.importorskip("matplotlib")

import labelled_clips  # noqa: E402

from engines.datasets.labelled import Dataset, LabelledVideo, Span  # noqa: E402
from engines.errors import ConfigError, VidpipeError  # noqa: E402
from engines.evaluation.resampling import Figure  # noqa: E402
from engines.evaluation.sweep.grid import Choice, choices, dropped_options, recipe_for, shortened  # noqa: E402
from engines.evaluation.sweep.plot import front  # noqa: E402
from engines.evaluation.sweep.record import Sweep, Timing, Trained  # noqa: E402
from engines.training.recipe import Data, Recipe  # noqa: E402
from pipeline.cli.sweep import sweep  # noqa: E402

app = typer.Typer()
app.command()(sweep)

RECIPE = """
name: sides
family: gru
options: {encoder: pixels, fps: 8, reduced: 12, hidden: 12}
data: {path: clips.csv, validation: {folds: 2}, background: left}
learning: {epochs: 1, lanes: 8, steps: 16, learning_rate: 0.02, patience: 0}
warm_up_s: 0.25
"""


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, VidpipeError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.stdout


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    clips = labelled_clips.write_folders(folder / "clips", 6)
    labelled_clips.manifest_of_folders(folder / "clips.csv", clips, 6)
    path = folder / "sides.yaml"
    path.write_text(RECIPE)
    return path


def test_each_combination_is_trained_once_and_timed(recipe_file: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    order = [recipe_file, "--sizes", "6", "--lengths", "4,12", "--out", tmp_path / "out", "--threads", 1]
    found = json.loads(call(*order, "--json", "--backend", "onnxruntime"))
    assert [(row["size"], row["frames"], row["clips"]) for row in found["rows"]] == [(6, 4, 12), (6, 12, 12)]
    (timing,) = found["timings"]
    assert min(timing["encoder_ms"], timing["step_ms"]) > 0
    assert found["backend"].startswith("onnxruntime")
    assert (tmp_path / "out" / "sweep.png").stat().st_size > 10_000
    results = sorted((tmp_path / "out").glob("gru-6-*/result.json"))
    before = [path.stat().st_mtime_ns for path in results]
    table = call(*order, "--backend", "onnxruntime")
    assert len(results) == 2
    assert [path.stat().st_mtime_ns for path in results] == before
    assert sum(line.startswith("gru ") for line in table.splitlines()) == 2
    results[0].write_text("{damaged")
    call(*order, "--backend", "onnxruntime")
    assert json.loads(results[0].read_text())["frames"] == 12


def test_a_combination_is_the_recipe_with_size_length_and_family() -> None:
    recipe = Recipe("r", "gru", Data("x"), options={"encoder": "pixels", "fps": 8, "hidden": 12, "reduced": 4})
    other = recipe_for(recipe, Choice("tcn", 32, 16))
    assert (other.family, other.options["height"], other.options["width"], other.learning.steps) == ("tcn", 32, 32, 16)
    assert other.clip.length_s == 2.0
    assert "hidden" not in other.options
    assert dropped_options(recipe, Choice("tcn", 32, 16))[0] == "hidden"
    assert dropped_options(recipe, Choice("gru", 32, 16)) == ()
    assert [str(each) for each in choices([8, 16], [4], ["gru", "tcn"])][1] == "tcn, 8 px, 4 frames"


def test_only_so_many_frames_are_seen() -> None:
    spans = (Span(0.0, 5.0, "a"), Span(7.0, 7.5, "b"))
    dataset = Dataset("here", ("a", "b"), (LabelledVideo(Path("x"), spans, "g"),), grouped=True)
    assert shortened(dataset, 2.0).videos[0].spans == (Span(0.0, 2.0, "a"), Span(7.0, 7.5, "b"))
    whole = Dataset("here", ("a",), (LabelledVideo(Path("x"), (Span(0.0, math.inf, "a"),), "g"),), grouped=True)
    assert shortened(whole, 1.5).videos[0].spans == (Span(0.0, 1.5, "a"),)


def test_what_no_other_beats_in_time_and_accuracy() -> None:
    def row(family: str, size: int, accuracy: float | None) -> Trained:
        return Trained(family, size, 8, Figure(accuracy), Figure(None), Figure(None), 10, 5)

    rows = (row("gru", 64, 0.7), row("gru", 128, 0.65), row("tcn", 128, 0.8), row("tcn", 64, None))
    timings = tuple(
        Timing(f, s, ms, 0.1) for f, s, ms in (("gru", 64, 1), ("gru", 128, 2), ("tcn", 128, 3), ("tcn", 64, 1))
    )
    found = Sweep("r", "d", "j", 8.0, ("a", "b"), "b", rows, timings)
    assert front(found) == [rows[0], rows[2]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--families", "gruu"], "no model family 'gruu'"),
        (["--sizes", "12x"], "--sizes is '12x'"),
        (["--lengths", "0"], "--lengths is '0'"),
    ],
)
def test_what_is_wrong_is_one_sentence(recipe_file: Path, tmp_path: Path, options: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        call(recipe_file, *options, "--out", tmp_path)


def test_the_scene_has_no_sweep(tmp_path: Path) -> None:
    path = tmp_path / "scene.yaml"
    path.write_text("{name: tiny, version: 0.0.1, labels: [idle, passing, loitering, left_behind]}")
    with pytest.raises(ConfigError, match="a sweep takes a recipe for labelled video"):
        call(path, "--out", tmp_path)
