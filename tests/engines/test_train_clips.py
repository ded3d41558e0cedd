"""Training on real little videos, from folders to a bundle: it learns, says what it did, and survives a kill."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("sklearn")
pytest.importorskip("tensorboard")
runtime = pytest.importorskip("onnxruntime")

import labelled_clips  # noqa: E402
from rich.console import Console  # noqa: E402

from engines.bundle import Bundle, load_bundle  # noqa: E402
from engines.datasets.reading import load_dataset  # noqa: E402
from engines.errors import ConfigError, TrainingError  # noqa: E402
from engines.evaluation.baselines import BASELINES, decode_baselines  # noqa: E402
from engines.evaluation.evaluate import evaluate  # noqa: E402
from engines.evaluation.judging import Order  # noqa: E402
from engines.evaluation.offline import WholeSequence  # noqa: E402
from engines.exporting import draft_of_recipe  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.training.checkpoint import FILE, load_checkpoint, restore  # noqa: E402
from engines.training.clips.division import divide  # noqa: E402
from engines.training.clips.run import ClipTraining  # noqa: E402
from engines.training.recipe import Recipe, load_recipe  # noqa: E402
from pipeline.cli.train import train  # noqa: E402

app = typer.Typer()
app.command()(train)

RECIPE = """
name: sides
family: gru
options: {encoder: pixels, height: 4, width: 6, fps: 8, reduced: 12, hidden: 12}
data: {path: clips}
learning: {epochs: 20, lanes: 8, steps: 16, learning_rate: 0.02, patience: 0}
"""

FOLDS = RECIPE.replace("{path: clips}", "{path: clips.csv, validation: {folds: 3}, background: left}").replace(
    "epochs: 20", "epochs: 3"
)

RUN = """
import sys
from pathlib import Path
import torch
from rich.console import Console
from engines.datasets.reading import load_dataset
from engines.training.clips.run import ClipTraining
from engines.training.recipe import load_recipe
torch.set_num_threads(1)
recipe = load_recipe(Path(sys.argv[1]))
dataset = load_dataset(recipe.data_path(Path(sys.argv[1])), labels=recipe.labels, background=recipe.data.background)
ClipTraining(recipe, dataset, Path(sys.argv[2]), Console()).run()
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips, a manifest of them, and recipes."""
    home = tmp_path_factory.mktemp("home")
    labelled_clips.write_folders(home / "clips", 12)
    labelled_clips.manifest_of_folders(home / "clips.csv", home / "clips", 12)
    (home / "recipe.yaml").write_text(RECIPE)
    (home / "folds.yaml").write_text(FOLDS)
    return home


def recipe_of(path: Path) -> Recipe:
    recipe = load_recipe(path)
    assert isinstance(recipe, Recipe)
    return recipe


def training(path: Path, folder: Path, told: io.StringIO | None = None, *, fresh: bool = False) -> ClipTraining:
    recipe = recipe_of(path)
    dataset = load_dataset(recipe.data_path(path), labels=recipe.labels, background=recipe.data.background)
    return ClipTraining(recipe, dataset, folder, Console(file=told or io.StringIO()), fresh=fresh)


@pytest.fixture(scope="module")
def finished(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a training that ran through, and what it printed."""
    torch.set_num_threads(1)
    folder, told = tmp_path_factory.mktemp("whole"), io.StringIO()
    training(home / "recipe.yaml", folder, told).run()
    return folder, told.getvalue()


@pytest.fixture(scope="module")
def folded(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same of a training with folds."""
    torch.set_num_threads(1)
    folder, told = tmp_path_factory.mktemp("folds"), io.StringIO()
    training(home / "folds.yaml", folder, told).run()
    return folder, told.getvalue()


def weights(folder: Path, recipe: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_checkpoint(folder, recipe_of(recipe).digest)
    assert checkpoint is not None
    assert checkpoint.stage == "bundle"
    return checkpoint.model


# ---- what comes out --------------------------------------------------------------------------------------------------
def test_it_learns_what_only_order_tells(finished: tuple[Path, str]) -> None:
    metrics = load_bundle(finished[0] / "sides").manifest.metrics
    assert metrics["accuracy"] >= 0.8
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
    assert 0 <= metrics["best_baseline_accuracy"] <= 1


def test_it_says_what_it_does(finished: tuple[Path, str], folded: tuple[Path, str]) -> None:
    for words in ("encoding videos", "24 videos of 24 groups, 0 skipped", "No groups were given", "training", "s left",
                  "SIMPLE BASELINE", "wrote"):  # fmt: skip
        assert words.lower() in finished[1].lower()
    assert "5 clips, held-out videos" in finished[1]
    for words in ("24 videos of 12 groups", "3-fold cross-validation", "fold 1/3", "fold 3/3", "final fit"):
        assert words in folded[1]
    assert "No groups" not in folded[1]


def test_the_bundle_tells_what_it_is(finished: tuple[Path, str], folded: tuple[Path, str]) -> None:
    manifest = load_bundle(finished[0] / "sides").manifest
    assert manifest.labels == ("left", "right")
    assert set(manifest.files) == {"encoder.onnx", "temporal.onnx", "golden.npz", "weights.npz", "baselines.npz",
                                   "card.md"}  # fmt: skip
    assert sum(manifest.training["priors"].values()) == pytest.approx(1.0)  # type: ignore[attr-defined]
    assert manifest.training["recipe"]["options"]["encoder"] == "pixels"  # type: ignore[index]
    assert set(manifest.events) == {"left", "right"}
    assert set(load_bundle(folded[0] / "sides").manifest.events) == {"right"}, "the background is no event"


def test_the_card_is_honest(finished: tuple[Path, str], folded: tuple[Path, str]) -> None:
    card, of_folds = ((each[0] / "sides" / "card.md").read_text() for each in (finished, folded))
    assert "**No groups were given**" in card
    assert "chosen on them, which flatters the figures" in " ".join(card.split())
    assert "## What it must not be used for" in card
    assert "| `left` | 12 videos |" in card
    assert "Every file could be used" in card
    assert "no group is in two parts" in of_folds
    assert "saw nothing of its group" in of_folds
    warned = "SIMPLE BASELINE" in of_folds
    assert of_folds.split("\n\n")[1].startswith("**") == warned


def test_the_bundle_says_what_the_trained_network_says(finished: tuple[Path, str], home: Path) -> None:
    recipe, folder = recipe_of(home / "recipe.yaml"), finished[0] / "sides"
    model = build_family(recipe.family, {**recipe.options, "labels": 2})
    restore(model, weights(finished[0], home / "recipe.yaml"), "the checkpoint")
    assert float(model.temperature) == pytest.approx(load_bundle(folder).manifest.training["temperature"], abs=1e-4)
    frames = np.random.default_rng(0).integers(0, 256, (20, 4, 6, 3)).astype(np.uint8)
    encoder, temporal = (runtime.InferenceSession(folder / f"{name}.onnx") for name in ("encoder", "temporal"))
    (features,) = encoder.run(None, {"frames": frames})
    with torch.no_grad():
        logits = model.eval()(model.encoder(torch.from_numpy(frames))[None], torch.full((1, 20), 0.125))[0][0]
    expected = torch.softmax(logits / model.temperature, 1).numpy()
    state = {pair.input: np.zeros((1, *pair.shape), np.float32) for pair in load_bundle(folder).manifest.state}
    for index in range(20):
        pace = {"dt": np.full(1, 0.125, np.float32), "keep": np.ones(1, np.float32)}
        prob, _, _, *following = temporal.run(None, {"features": features[index : index + 1], **pace, **state})
        state = dict(zip(state, following, strict=True))
        np.testing.assert_allclose(prob[0], expected[index], atol=1e-5)
    whole = WholeSequence.load(load_bundle(folder)).answer(features, np.full(20, 0.125, np.float32))
    np.testing.assert_allclose(whole, expected, atol=1e-5)


def test_the_figures_of_training_are_those_of_an_evaluation_of_the_same_rows(home: Path, tmp_path: Path) -> None:
    """Warm-up, clip rule, temperature and baselines are alike; two steps of each clip come after the warm-up."""
    rows = labelled_clips.manifest_of_folders(home / "split.csv", home / "clips", 12, validating=4)
    path = home / "split.yaml"
    path.write_text(RECIPE.replace("{path: clips}", "{path: split.csv}").replace("20", "6") + "warm_up_s: 1.875\n")
    bundle = load_bundle(training(path, tmp_path).run())
    found, _ = evaluate(
        bundle, load_dataset(rows, labels=bundle.manifest.labels), Order("val", "onnxruntime", draws=0, threads=1)
    )
    assert not [note for note in found.notes if "LEARNT FROM" in note]
    for split in ("train", ""):
        dataset = load_dataset(rows, labels=bundle.manifest.labels)
        flattered, _ = evaluate(bundle, dataset, Order(split, "onnxruntime", draws=0, threads=1))
        assert [note for note in flattered.notes if "LEARNT FROM VIDEOS THAT ARE JUDGED HERE" in note]
    for name in ("accuracy", "auc", "map", "brier", "ece"):
        assert found.figures[name].value == pytest.approx(bundle.manifest.metrics[name], abs=1e-4)
    best = found.baselines[found.comparison.against["accuracy"]]["accuracy"].value
    assert best == pytest.approx(bundle.manifest.metrics["best_baseline_accuracy"], abs=1e-4)


def test_the_baselines_are_in_the_bundle(finished: tuple[Path, str]) -> None:
    baselines = decode_baselines(load_bundle(finished[0] / "sides").read(BASELINES))
    said = baselines.predict(np.random.default_rng(0).random((16, 24), np.float32))
    assert set(said) == {"single frame", "mean over frames", "mean + |difference|"}
    assert all(table.shape == (2,) for table in said.values())


def test_tensorboard_finds_its_logs(finished: tuple[Path, str], folded: tuple[Path, str]) -> None:
    assert [path.name for path in (finished[0] / "tensorboard").iterdir()] == ["fit"]
    assert sorted(path.name for path in (folded[0] / "tensorboard").iterdir()) == ["fit", "fold-1", "fold-2", "fold-3"]
    assert all(b"epoch/validation_loss" in path.read_bytes() for path in (finished[0] / "tensorboard/fit").iterdir())


def test_export_takes_the_trainings_checkpoint(finished: tuple[Path, str], home: Path) -> None:
    recipe = recipe_of(home / "recipe.yaml")
    draft = draft_of_recipe(recipe, finished[0])
    assert (draft.state, draft.about.labels) == ("trained, but not judged", ("left", "right"))
    expected = weights(finished[0], home / "recipe.yaml")
    assert all(torch.equal(draft.model.state_dict()[name], value) for name, value in expected.items())
    with pytest.raises(ConfigError, match="leaves its labels to the data"):
        draft_of_recipe(recipe, None)


# ---- stopping and going on -------------------------------------------------------------------------------------------
def test_where_a_bad_file_moves_a_video_to_the_learnt_ones_it_has_all_its_views(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "clips", tmp_path / "clips")
    path, told = tmp_path / "recipe.yaml", io.StringIO()
    data = "{path: clips, views: 2, augment: {crop: 0.8}, validation: {share: 0.3}}"
    path.write_text(RECIPE.replace("{path: clips}", data).replace("20", "1"))
    whole = load_dataset(tmp_path / "clips")
    before = divide(whole, recipe_of(path)).judging
    before[0].path.write_bytes(b"no video")
    after = divide(replace(whole, videos=tuple(v for v in whole.videos if v != before[0])), recipe_of(path)).learnt
    assert {video.name for video in before} & {video.name for video in after}
    training(path, tmp_path / "out", told).run()
    assert "23 videos of 23 groups, 1 skipped" in told.getvalue()


def test_a_killed_training_goes_on_to_the_same_end(folded: tuple[Path, str], home: Path, tmp_path: Path) -> None:
    folder, environment = tmp_path / "killed", {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", RUN, str(home / "folds.yaml"), str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        deadline = time.monotonic() + 60
        while not (folder / FILE).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = load_checkpoint(folder, recipe_of(home / "folds.yaml").digest)
    assert before is not None
    assert before.stage != "bundle", "it was killed too late to show anything"
    told = io.StringIO()
    training(home / "folds.yaml", folder, told).run()
    assert "resuming after" in told.getvalue()
    expected, found = weights(folded[0], home / "folds.yaml"), weights(folder, home / "folds.yaml")
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_finished_training_only_writes_its_bundle_again(folded: tuple[Path, str], home: Path) -> None:
    before, told = (folded[0] / "sides" / "weights.npz").read_bytes(), io.StringIO()
    training(home / "folds.yaml", folded[0], told).run()
    assert "fold 1/3" not in told.getvalue()
    assert "final fit" not in told.getvalue()
    with np.load(io.BytesIO(before)) as one, np.load(folded[0] / "sides" / "weights.npz") as other:
        assert all(np.array_equal(one[name], other[name]) for name in one.files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed: 9\n", r"another recipe.*--fresh"),
        ("family: cnn_lstm\n", r"holds the family gru, and the recipe asks for cnn_lstm: start afresh"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(
    finished: tuple[Path, str], home: Path, tmp_path: Path, change: str, message: str
) -> None:
    (tmp_path / FILE).write_bytes((finished[0] / FILE).read_bytes())
    other = home / "other.yaml"
    other.write_text(RECIPE.replace("family: gru\n", "" if "family" in change else "family: gru\n") + change)
    with pytest.raises(TrainingError, match=message):
        training(other, tmp_path)
    training(other, tmp_path, fresh=True)
    assert not (tmp_path / FILE).exists()


def test_a_checkpoint_of_other_data_is_refused(finished: tuple[Path, str], home: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes((finished[0] / FILE).read_bytes())
    recipe = recipe_of(home / "recipe.yaml")
    with pytest.raises(TrainingError, match=r"are not those that the training in .* began with.*--fresh"):
        ClipTraining(recipe, load_dataset(home / "clips.csv"), tmp_path, Console(file=io.StringIO()))


# ---- other ways to learn ---------------------------------------------------------------------------------------------
def test_only_the_folds_through_the_command(folded: tuple[Path, str], home: Path) -> None:
    arguments = [str(home / "folds.yaml"), "--out", str(folded[0]), "--cross-validate", "--threads", "1"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exception is None
    found = json.loads(result.stdout)
    metrics = load_bundle(folded[0] / "sides").manifest.metrics
    assert found["figures"]["accuracy"]["value"] == pytest.approx(metrics["accuracy"], abs=1e-4)
    assert found["clips"] == 24
    table = CliRunner().invoke(app, arguments).stdout
    for words in ("clip accuracy", "AUC", "mean over frames", "24 clips, 3-fold cross-validation over 12 groups"):
        assert words in table


def judged(bundle: Bundle, frames: np.ndarray) -> np.ndarray:
    session = runtime.InferenceSession(bundle.folder / "encoder.onnx")
    (features,) = session.run(None, {"frames": frames})
    return np.asarray(features)


def test_a_fine_tuned_encoder_is_the_one_that_is_exported(home: Path, tmp_path: Path) -> None:
    recipe = home / "tuned.yaml"
    recipe.write_text(
        RECIPE.replace("encoder: pixels, height: 4, width: 6", "encoder: conv, height: 16, width: 24").replace(
            "epochs: 20, lanes: 8", "epochs: 1, lanes: 4, encoder_learning_rate: 0.02"
        )
        + "encoder: fine_tuned\n"
    )
    told = io.StringIO()
    run = training(recipe, tmp_path, told)
    model = run._new_model(0)
    start = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    bundle = load_bundle(run.run())
    end = weights(tmp_path, recipe)
    changed = [name for name, value in start.items() if (end[f"encoder.{name}"] - value).abs().max() > 1e-5]
    assert changed
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3)).astype(np.uint8)
    with torch.no_grad():
        before = model.eval().encoder(torch.from_numpy(frames)).numpy()
        restore(model, end, "the checkpoint")
        after = model.eval().encoder(torch.from_numpy(frames)).numpy()
    np.testing.assert_allclose(judged(bundle, frames), after, atol=1e-4)
    assert np.abs(before - after).max() > 1e-3
    assert bundle.manifest.training["encoder"]["trained"] == "fine_tuned"  # type: ignore[index]


def test_long_videos_with_marked_intervals(home: Path, tmp_path: Path) -> None:
    rows = []
    for number in range(6):
        path = labelled_clips.write_clip(tmp_path / f"long{number}.mp4", [-1] * 16 + [1] * 16 + [-1] * 8, number)
        rows.append((path.name, "right", 2.0, 4.0))
    labelled_clips.write_manifest(tmp_path / "long.csv", rows, "path,label,start,end")
    recipe = tmp_path / "long.yaml"
    recipe.write_text(
        RECIPE.replace("path: clips", "path: long.csv, background: left, views: 2, augment: {brightness: 0.1}")
    )
    bundle = load_bundle(training(recipe, tmp_path / "out").run())
    assert "3 intervals, each scored as one clip however long" in bundle.read("card.md").decode()
    metrics = bundle.manifest
    assert metrics.labels == ("left", "right")
    assert set(metrics.events) == {"right"}
    assert metrics.training["priors"] == {"left": 0.6, "right": 0.4}
    assert metrics.metrics["clips"] == 3  # of the one video that judges: left, right, left
