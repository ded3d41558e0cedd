"""Export: the graphs say what torch says, at any batch size, and the manifest describes them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")

from small_families import SMALL  # noqa: E402

from engines.bundle import load_bundle  # noqa: E402
from engines.errors import ModelError  # noqa: E402
from engines.export import write_bundle  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.families.contract import StreamModel  # noqa: E402
from engines.golden import read_golden  # noqa: E402
from engines.manifest import SCHEMA, FrameInput, Manifest  # noqa: E402
from engines.temporal import Temporal  # noqa: E402

FIRST = {family: name for name, (family, _) in reversed(SMALL.items())}
"""The first network of each family; its other options wait for the slow tests, since an export takes seconds."""

TEMPERATURE = 1.6


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in FIRST.values() else pytest.mark.slow) for name in sorted(SMALL)],
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[StreamModel, Path]:
    torch.manual_seed(1)
    family, options = SMALL[request.param]
    model = build_family(family, options)
    model.temperature.fill_(TEMPERATURE)
    about = Manifest(
        SCHEMA, "toy", "1.0.0", family, ("a", "b", "c", "d"), FrameInput(1, 1, 1.0), (1,), (), {}, summary="toy"
    )
    folder = tmp_path_factory.mktemp("bundle") / "toy"
    write_bundle(folder, model, about, "# toy\n")
    return model.eval(), folder


def served(model: StreamModel, features: np.ndarray, dt: np.ndarray) -> np.ndarray:
    """Logits of whole sequences from zero state, as calibration leaves them."""
    with torch.no_grad():
        return (model(torch.from_numpy(features), torch.from_numpy(dt))[0] / TEMPERATURE).numpy()


def session(path: Path) -> runtime.InferenceSession:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_encoder_graph_says_what_torch_says(exported: tuple[StreamModel, Path], batch: int) -> None:
    model, folder = exported
    frames = np.random.default_rng(0).integers(0, 256, (batch, *model.frame_shape, 3)).astype(np.uint8)
    (features,) = session(folder / "encoder.onnx").run(["features"], {"frames": frames})
    with torch.no_grad():
        expected = model.encoder(torch.from_numpy(frames)).numpy()
    assert features.shape == (batch, *model.features)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_streaming_the_graph_equals_the_offline_sequence(exported: tuple[StreamModel, Path]) -> None:
    model, folder = exported
    graph, batch, steps = session(folder / "temporal.onnx"), 3, 60
    rng = np.random.default_rng(2)
    features = rng.random((batch, steps, *model.step_features), np.float32)
    dt = (rng.random((batch, steps), np.float32) + 0.5) / np.float32(model.fps)
    dt[:, 0] = 1 / model.fps
    manifest = load_bundle(folder).manifest
    state = {pair.input: np.full((batch, *pair.shape), np.nan, np.float32) for pair in manifest.state}
    expected = served(model, features, dt)
    for index in range(steps):
        keep = np.full(batch, index > 0, np.float32)
        feeds = {"features": features[:, index], "dt": dt[:, index], "keep": keep, **state}
        names = ["prob", "logits", "ok", *(pair.output for pair in manifest.state)]
        outputs = dict(zip(names, graph.run(names, feeds), strict=True))
        state = {pair.input: outputs[pair.output] for pair in manifest.state}
        np.testing.assert_allclose(outputs["logits"], expected[:, index], atol=1e-5)
        np.testing.assert_allclose(outputs["prob"].sum(1), 1, atol=1e-5)
        assert (outputs["ok"] == 1).all()


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_ragged_arrivals_through_the_pool_equal_the_offline_sequence(
    exported: tuple[StreamModel, Path], backend: str
) -> None:
    model, folder = exported
    cameras, steps, most = 6, 30, 4
    rng = np.random.default_rng(3)
    features = rng.random((cameras, steps, *model.step_features), np.float32)
    dt = (rng.random((cameras, steps), np.float32) + 0.5) / np.float32(model.fps)
    expected = served(model, features, dt)
    at = np.zeros(cameras, np.int64)
    with Temporal.open(load_bundle(folder), backend, capacity=8, max_batch=most) as temporal:
        rows = np.array([temporal.pool.acquire(camera) for camera in range(cameras)])
        while (waiting := np.flatnonzero(at < steps)).size:
            now = rng.choice(waiting, min(waiting.size, int(rng.integers(1, most + 1))), replace=False)
            result = temporal.step(rows[now], features[now, at[now]], dt[now, at[now]], np.ones(now.size))
            np.testing.assert_allclose(result.logits, expected[now, at[now]], atol=1e-5)
            assert result.ok.all()
            at[now] += 1


def test_a_poisoned_row_is_flagged_alone(exported: tuple[StreamModel, Path]) -> None:
    model, folder = exported
    manifest = load_bundle(folder).manifest
    state = {pair.input: np.zeros((2, *pair.shape), np.float32) for pair in manifest.state}
    for tensor in state.values():
        tensor[1] = np.nan
    feeds = {"features": np.zeros((2, *model.step_features), np.float32), "dt": np.full(2, 0.2, np.float32)}
    names = ["ok", *(pair.output for pair in manifest.state)]
    ok, *following = session(folder / "temporal.onnx").run(names, {**feeds, "keep": np.ones(2, np.float32), **state})
    assert ok.tolist() == [1.0, 0.0]
    assert all(np.isfinite(tensor).all() and not tensor[1].any() for tensor in following)


def test_the_manifest_describes_the_files(exported: tuple[StreamModel, Path]) -> None:
    model, folder = exported
    manifest = load_bundle(folder).manifest
    assert (manifest.input.height, manifest.input.width) == model.frame_shape
    assert manifest.input.fps == model.fps
    assert manifest.features == model.features
    assert [pair.shape for pair in manifest.state] == [spec.shape for spec in model.state_spec]
    for name, digest in manifest.files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_recorded_answers_are_as_served(exported: tuple[StreamModel, Path]) -> None:
    model, folder = exported
    golden = read_golden(load_bundle(folder))
    assert golden is not None
    np.testing.assert_allclose(golden.logits, served(model, golden.features[None], golden.dt[None])[0], atol=1e-6)


@pytest.mark.parametrize("name", ["encoder.onnx", "temporal.onnx"])
def test_each_graph_is_one_valid_file_without_loops(exported: tuple[StreamModel, Path], name: str) -> None:
    graph = onnx.load(exported[1] / name, load_external_data=False)
    onnx.checker.check_model(graph)
    assert 18 <= graph.opset_import[0].version <= 20
    assert not any(tensor.external_data for tensor in graph.graph.initializer)
    assert not {"Loop", "Scan", "If", "LSTM", "Mod"} & {node.op_type for node in graph.graph.node}
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_a_changed_file_is_refused(exported: tuple[StreamModel, Path], tmp_path: Path) -> None:
    for path in exported[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data = bytearray((tmp_path / "encoder.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "encoder.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"encoder\.onnx"):
        load_bundle(tmp_path)
