"""A whole training in seconds: it learns, is deterministic, survives a kill, and its bundle says what torch says."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")

from rich.console import Console  # noqa: E402

from engines.bundle import load_bundle  # noqa: E402
from engines.errors import TrainingError  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.training.checkpoint import FILE, load_checkpoint  # noqa: E402
from engines.training.scene.recipe import load_recipe  # noqa: E402
from engines.training.scene.run import Training  # noqa: E402

TINY = """
name: tiny
version: 0.0.1
labels: [idle, passing, loitering, left_behind]
workers: 1
options: {height: 40, width: 64, channels: [4, 6, 8], places: 4, hidden: 6}
pictures: {scenes: 6, per_scene: 6, epochs: 3, batch: 8}
lanes: {scenes: 3, seconds: 20, long_scenes: 1, long_seconds: 30}
memory: {epochs: 3, lanes: 2, steps: 16}
evaluation: {validation_scenes: 1, test_scenes: 1, seconds: 12, width: 160, height: 90, h264_kbit: 100}
"""

RUN = """
import sys
from pathlib import Path
import torch
from rich.console import Console
from engines.training.scene.recipe import load_recipe
from engines.training.scene.run import Training
torch.set_num_threads(1)
Training(load_recipe(Path(sys.argv[1])), Path(sys.argv[2]), Console()).run()
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def finished(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a training that ran through, and what it printed."""
    torch.set_num_threads(1)
    folder, told = tmp_path_factory.mktemp("whole"), io.StringIO()
    Training(load_recipe(recipe_file), folder, Console(file=told)).run()
    return folder, told.getvalue()


def weights(folder: Path, recipe_file: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_checkpoint(folder, load_recipe(recipe_file).digest)
    assert checkpoint is not None
    assert checkpoint.stage == "bundle"
    return checkpoint.model


def test_it_says_how_far_it_is(finished: tuple[Path, str]) -> None:
    for stage in ("drawing pictures", "1/2 encoder", "filming scenes", "2/2 memory", "judging scenes", "wrote"):
        assert stage in finished[1]
    assert " s left" in finished[1]


def test_the_bundle_is_whole_and_measured(finished: tuple[Path, str]) -> None:
    bundle = load_bundle(finished[0] / "tiny")
    assert bundle.manifest.labels == ("idle", "passing", "loitering", "left_behind")
    assert set(bundle.manifest.events) == {"passing", "loitering", "left_behind"}
    assert 0 <= bundle.manifest.metrics["clip_accuracy"] <= 1
    assert bundle.manifest.metrics["scenes"] == 1
    assert "## How good it is" in bundle.read("card.md").decode()
    assert not (finished[0] / "data").exists()


def test_the_bundle_says_what_the_trained_network_says(finished: tuple[Path, str], recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    model = build_family(recipe.family, recipe.options)
    model.load_state_dict(weights(finished[0], recipe_file))
    model.eval()
    manifest = load_bundle(finished[0] / "tiny").manifest
    frames = np.random.default_rng(0).integers(0, 256, (24, *model.frame_shape, 3)).astype(np.uint8)
    encoder, temporal = (runtime.InferenceSession(finished[0] / "tiny" / f"{n}.onnx") for n in ("encoder", "temporal"))
    (features,) = encoder.run(None, {"frames": frames})
    with torch.no_grad():
        expected = model(model.encoder(torch.from_numpy(frames))[None], torch.full((1, 24), 0.2))[0][0].numpy()
    state = {pair.input: np.zeros((1, *pair.shape), np.float32) for pair in manifest.state}
    for index in range(24):
        pace = {"dt": np.full(1, 0.2, np.float32), "keep": np.ones(1, np.float32)}
        _, logits, _, *following = temporal.run(None, {"features": features[index : index + 1], **pace, **state})
        state = dict(zip(state, following, strict=True))
        np.testing.assert_allclose(logits[0], expected[index], atol=1e-5)


def test_it_learns(finished: tuple[Path, str], recipe_file: Path) -> None:
    torch.manual_seed(load_recipe(recipe_file).seed)
    start = build_family("cnn_lstm", load_recipe(recipe_file).options).state_dict()
    end = weights(finished[0], recipe_file)
    for name in ("encoder.layers.0.0.weight", "place_memory.weight", "scene.weight_hh_l0", "head.weight"):
        assert (start[name] - end[name]).abs().max() > 1e-4


def test_a_killed_training_goes_on_to_the_same_end(
    finished: tuple[Path, str], recipe_file: Path, tmp_path: Path
) -> None:
    folder, environment = tmp_path / "killed", {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", RUN, str(recipe_file), str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        deadline = time.monotonic() + 60
        while not (folder / FILE).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = load_checkpoint(folder, load_recipe(recipe_file).digest)
    assert before is not None
    assert before.stage != "bundle", "it was killed too late to show anything"
    told = io.StringIO()
    Training(load_recipe(recipe_file), folder, Console(file=told)).run()
    assert "resuming after" in told.getvalue()
    expected, found = weights(finished[0], recipe_file), weights(folder, recipe_file)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_finished_training_only_writes_its_bundle_again(finished: tuple[Path, str], recipe_file: Path) -> None:
    before, told = weights(finished[0], recipe_file), io.StringIO()
    Training(load_recipe(recipe_file), finished[0], Console(file=told)).run()
    assert "1/2 encoder" not in told.getvalue()
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(finished[0], recipe_file).items())


def test_a_checkpoint_of_another_recipe_is_refused(
    finished: tuple[Path, str], recipe_file: Path, tmp_path: Path
) -> None:
    (tmp_path / FILE).write_bytes((finished[0] / FILE).read_bytes())
    other = tmp_path / "other.yaml"
    other.write_text(TINY + "seed: 9\n")
    with pytest.raises(TrainingError, match=r"another recipe.*--fresh"):
        Training(load_recipe(other), tmp_path, Console(file=io.StringIO()))
    Training(load_recipe(other), tmp_path, Console(file=io.StringIO()), fresh=True)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_refused(
    finished: tuple[Path, str], recipe_file: Path, tmp_path: Path, damage: bytes | None
) -> None:
    data = (finished[0] / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(data[: len(data) // 2] if damage is None else damage)
    with pytest.raises(TrainingError, match="is damaged"):
        Training(load_recipe(recipe_file), tmp_path, Console(file=io.StringIO()))


def test_a_folder_that_cannot_be_used_is_named(recipe_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"cannot be used.*--out"):
        Training(load_recipe(recipe_file), tmp_path / "file", Console(file=io.StringIO()))
