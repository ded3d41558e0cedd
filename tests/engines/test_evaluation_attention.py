"""`vidpipe explain`: the weights are those of the network, the picture shows them, and what cannot be shown is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("matplotlib")
pytest.importorskip("av")

import cv2  # noqa: E402
from videos import write_video  # noqa: E402

from engines.bundle import load_bundle  # noqa: E402
from engines.datasets.footage import sample  # noqa: E402
from engines.errors import DataError, ModelError  # noqa: E402
from engines.evaluation.attention import attended  # noqa: E402
from engines.evaluation.attention_picture import lit  # noqa: E402
from engines.export import WEIGHTS, encode_weights, write_bundle  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.families.contract import StreamModel  # noqa: E402
from engines.manifest import SCHEMA, FrameInput, Manifest  # noqa: E402
from pipeline.cli.explain import explain  # noqa: E402

app = typer.Typer()
app.command()(explain)

LABELS = ("calm", "busy")
SHAPE = {"encoder": "conv", "height": 24, "width": 32, "fps": 7.5}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[StreamModel, Path]:
    torch.manual_seed(6)
    family, options = "attention_lstm", {**SHAPE, "reduced": 8, "hidden": 8, "memory": 5}
    model = build_family(family, {**options, "labels": 2}).eval()
    model.temperature.fill_(2.0)
    training: dict[str, object] = {"recipe": {"options": options}}
    about = Manifest(SCHEMA, "toy", "1.0.0", family, LABELS, FrameInput(1, 1, 1.0), (1,), (), {}, training=training)
    folder = tmp_path_factory.mktemp("bundle") / "toy"
    write_bundle(folder, model, about, "# toy\n")
    return model, folder


@pytest.fixture
def write_tiny(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """The shared maker of tiny bundles, whose name is taken here by that of the product."""
    maker: Callable[..., Path] = request.getfixturevalue("write_bundle")
    return maker


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", 60)


@torch.no_grad()
def test_the_weights_are_those_of_one_pass_of_the_network(network: tuple[StreamModel, Path], video: Path) -> None:
    model, folder = network
    found = attended(load_bundle(folder), video)
    seen = sample(video, 7.5, (24, 32))
    assert len(found) == 30
    np.testing.assert_array_equal(found.frames, seen.frames)
    features = model.encoder(torch.from_numpy(seen.frames))[None]
    expected = model.explain(features, torch.full((1, 30), 1 / 7.5))
    np.testing.assert_allclose(found.spatial, expected.spatial[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(found.temporal, expected.temporal[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(found.prob, torch.softmax(expected.logits[0] / 2.0, 1).numpy(), atol=1e-5)


def test_a_part_is_shown_with_what_was_remembered_from_before(network: tuple[StreamModel, Path], video: Path) -> None:
    whole = attended(load_bundle(network[1]), video)
    part = attended(load_bundle(network[1]), video, start_s=1.0, end_s=3.0)
    inside = (whole.times_s >= 1.0) & (whole.times_s < 3.0)
    assert 10 < len(part) == inside.sum() < 20
    for name in ("times_s", "prob", "spatial", "temporal"):
        np.testing.assert_allclose(getattr(part, name), getattr(whole, name)[inside], atol=1e-6)
    with pytest.raises(DataError, match=r"clip\.mp4: it has no frame from 60 s to 70 s"):
        attended(load_bundle(network[1]), video, start_s=60.0, end_s=70.0)


def test_a_frame_is_lit_where_the_network_looked() -> None:
    frame = np.full((30, 40, 3), (10, 100, 200), np.uint8)
    weights = np.zeros((3, 4), np.float32)
    weights[1, 3] = 0.5
    picture = lit(frame, weights)
    assert picture[15, 35] == pytest.approx([200, 100, 10], abs=10)  # red first
    assert picture[5, 5].tolist() == [50, 25, 2]


def test_the_command_writes_a_picture_and_tells_the_weights(
    network: tuple[StreamModel, Path], video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "looked.png"
    told = call(network[1], video, "--out", out, "--end", 2.0)
    assert (told.exit_code, told.output) == (0, f"{out}: 15 frames from 0.00 s to 1.87 s\n")
    drawn = cv2.imread(str(out))
    assert min(drawn.shape[:2]) > 400
    assert drawn.std() > 20
    lines = [json.loads(line) for line in call(network[1], video, "--out", out, "--json").output.splitlines()]
    assert len(lines) == 30
    assert lines[0]["temporal"] == [0, 0, 0, 0, 1]
    assert np.shape(lines[7]["spatial"]) == (3, 4)
    assert sum(lines[7]["prob"].values()) == pytest.approx(1, abs=1e-5)


def test_other_families_and_bundles_without_weights_are_one_sentence(
    write_tiny: Callable[..., Path], video: Path, tmp_path: Path
) -> None:
    options = {"encoder": "pixels", "height": 1, "width": 5, "reduced": 4, "hidden": 4}
    weights = encode_weights(build_family("gru", {**options, "labels": 3}))
    training = {"recipe": {"options": options}}
    folder = write_tiny(tmp_path / "tiny", files={WEIGHTS: weights}, family="gru", training=training)
    with pytest.raises(ModelError, match="is of the family gru, which has no weights to show: train one of attention"):
        attended(load_bundle(folder), video)
    bare = write_tiny(tmp_path / "bare")
    with pytest.raises(ModelError, match=r"bundle tiny cannot tell what it attends to: .*weights\.npz"):
        attended(load_bundle(bare), video)
