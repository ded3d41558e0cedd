"""Bad data and recipes through the command: one clear sentence each, and broken files are counted and listed."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("sklearn")
pytest.importorskip("tensorboard")

import labelled_clips  # noqa: E402

from engines.bundle import load_bundle  # noqa: E402
from engines.errors import VidpipeError  # noqa: E402
from engines.training.clips import material  # noqa: E402
from pipeline.cli.train import train  # noqa: E402

app = typer.Typer()
app.command()(train)

RECIPE = """
name: sides
family: gru
options: {encoder: pixels, height: 4, width: 6, fps: 8, reduced: 8, hidden: 8}
data: {path: data.csv}
learning: {epochs: 1, lanes: 4, steps: 16}
"""

Rows = list[tuple[object, ...]]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of each label in a folder each."""
    torch.set_num_threads(1)
    return labelled_clips.write_folders(tmp_path_factory.mktemp("clips"), 6)


@pytest.fixture
def rows(clips: Path) -> Rows:
    """One row a clip; the last two of each label are `val`."""
    return [
        (clips / label / f"{label}{n}.mp4", label, "train" if n < 4 else "val", f"{label}{n}")
        for label in ("left", "right")
        for n in range(6)
    ]


def run(folder: Path, rows: Rows | None, recipe: str = RECIPE, *options: str) -> tuple[str, str]:
    """What the command printed, and the sentence of its error if there was one."""
    if rows is not None:
        labelled_clips.write_manifest(folder / "data.csv", rows)
    (folder / "recipe.yaml").write_text(recipe)
    arguments = [str(folder / "recipe.yaml"), "--out", str(folder / "out"), "--threads", "1", *options]
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, VidpipeError):
        assert "\n" not in str(result.exception)
        return result.stdout, str(result.exception)
    assert result.exception is None, result.exception
    return result.stdout, ""


def other_label(rows: Rows) -> Rows:
    return [*rows[:-1], (*rows[-1][:1], "rigth", *rows[-1][2:])]


def test_broken_videos_are_skipped_counted_and_listed(clips: Path, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video at all\n" * 50)
    bad = [(tmp_path / "empty.mp4", "left", "train", "e"), (tmp_path / "text.mp4", "right", "val", "t")]
    stdout, error = run(tmp_path, [*rows, *bad])
    assert error == ""
    assert "12 videos of 12 groups, 2 skipped" in stdout
    for words in ("skipped", "empty.mp4", "(0 bytes)", "text.mp4", "not a video"):
        assert words in stdout
    bundle = load_bundle(tmp_path / "out" / "sides")
    card = bundle.read("card.md").decode()
    assert "2 files could not be used" in card
    assert "- empty.mp4: the file is empty (0 bytes)" in card
    assert str(tmp_path) not in card
    assert bundle.manifest.training["skipped"] == 2


@pytest.mark.parametrize(
    ("change", "recipe", "sentence"),
    [
        (other_label, RECIPE + "labels: [left, right]\n", r"no label 'rigth' \(did you mean 'right'\?\)"),
        (lambda rows: rows[:6], RECIPE, "has only the class 'left': a model needs at least two"),
        (lambda rows: rows[:6], RECIPE + "labels: [left, right]\n", "has no video of the class right"),
        (lambda rows: rows[:-2], RECIPE, "the split 'val' has no video of the class right"),
        (lambda rows: [*rows[:-1], (*rows[-1][:3], "left0")], RECIPE, "'train' and 'val' share the group 'left0'"),
        (lambda rows: rows[:0], RECIPE, "data.csv"),
        (lambda rows: rows, RECIPE.replace("data.csv", "nothing.csv"), "there is no labelled video at"),
        (
            lambda rows: rows,
            RECIPE.replace("data.csv", "data.csv, train: trian"),
            "no split 'trian'.*did you mean 'train'",
        ),
        (
            lambda rows: rows,
            RECIPE.replace("data.csv", "data.csv, background: still"),
            "calls 'still' the background, and the labels are",
        ),
        (
            lambda rows: rows,
            RECIPE.replace("data.csv", "data.csv, validation: {folds: 9}"),
            r"8 group\(s\) of videos cannot give 9 folds",
        ),
        (
            lambda rows: rows,
            RECIPE.replace("data.csv", "data.csv, views: 2, augment: {flip: true}"),
            "the mirror image of 'left' has another label: name it in flip_pairs",
        ),
        (lambda rows: rows, RECIPE + "epochs: 3\n", "unknown key epochs"),
        (lambda rows: rows, RECIPE.replace("family: gru", "family: gro"), "no model family 'gro'"),
        (lambda rows: rows, RECIPE.replace("hidden: 8", "hiden: 8"), "hiden"),
        (
            lambda rows: rows,
            RECIPE.replace("encoder: pixels", "encoder: pixel"),
            "no encoder 'pixel'; did you mean pixels",
        ),
        (lambda rows: rows, RECIPE + "encoder: fine_tuned\n", "fine-tunes the encoder pixels, which has no weights"),
        (
            lambda rows: rows,
            RECIPE.replace("encoder: pixels, height: 4, width: 6", "encoder: conv, height: 8, width: 8"),
            "freezes the encoder conv, which starts from random weights",
        ),
        (
            lambda rows: rows,
            RECIPE.replace("encoder: pixels, height: 4, width: 6", "height: 16, width: 24").replace("gru", "cnn_lstm"),
            "names no encoder|options",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(
    change: Callable[[Rows], Rows], recipe: str, sentence: str, rows: Rows, tmp_path: Path
) -> None:
    _, error = run(tmp_path, change(rows), recipe)
    assert error
    assert re.search(sentence, error), error
    assert not (tmp_path / "out" / "sides").exists()


def test_cross_validation_needs_folds(rows: Rows, tmp_path: Path) -> None:
    assert "has no folds to cross-validate: add data.validation" in run(tmp_path, rows, RECIPE, "--cross-validate")[1]


def test_the_scenes_recipe_takes_no_data(tmp_path: Path) -> None:
    scene = "name: toy\nversion: 1.0.0\nlabels: [idle, passing, loitering, left_behind]\n"
    assert "makes its own scenes" in run(tmp_path, None, scene, "--data", str(tmp_path))[1]


def test_features_that_are_no_numbers_name_video_and_time(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(frames: np.ndarray) -> np.ndarray:
        features = np.zeros((len(frames), 24), np.float32)
        features[4, 3] = np.nan
        return features

    monkeypatch.setattr(material, "frozen_encoding", lambda model: broken)
    assert "left0.mp4: the encoder's features at 0.50 s are NaN or infinite" in run(tmp_path, rows)[1]


def test_not_one_readable_video_is_an_error(rows: Rows, tmp_path: Path) -> None:
    bad = []
    for number, row in enumerate(rows):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(bytes([number]))
        bad.append((path, *row[1:]))
    assert "not one of 8 videos can be used; the first:" in run(tmp_path, bad)[1]


def test_a_class_whose_videos_are_all_broken_is_told(rows: Rows, tmp_path: Path) -> None:
    bad = list(rows)
    for index, row in enumerate(rows):
        if row[1:3] == ("right", "val"):
            path = tmp_path / f"{index}.mp4"
            path.write_bytes(bytes([index]))
            bad[index] = (path, *row[1:])
    assert "the split 'val' has no video of the class right" in run(tmp_path, bad)[1]


def test_a_damaged_checkpoint_is_refused(rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"torn")
    assert "is damaged: start afresh with --fresh" in run(tmp_path, rows)[1]


@pytest.mark.parametrize("package", ["scikit-learn", "tensorboard", "onnxscript"])
def test_a_missing_package_is_told_before_the_long_work(
    package: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, {"scikit-learn": "sklearn"}.get(package, package), None)
    stdout, error = run(tmp_path, rows)
    assert error == f"vidpipe train needs the package {package}, which is not installed: pip install 'vidpipe[train]'"
    assert "encoding" not in stdout
