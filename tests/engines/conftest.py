"""A tiny model bundle made on the spot: a colour-mean encoder and an LSTM step, both with fixed random weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import Bundle, load_bundle
from engines.manifest import SCHEMA, FrameInput, Manifest, StateTensor, dump_manifest

HEIGHT, WIDTH, FPS, FEATURES, HIDDEN = 6, 8, 8.0, 5, 4
LABELS = ("idle", "passing", "left_behind")


@dataclass(frozen=True)
class Graphs:
    """Builds the two graphs; each argument breaks one thing."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def encoder(self, *, batch: int | str = "N", dtype: int = TensorProto.UINT8, output: str = "features") -> bytes:
        """Features are a tanh of a linear map of the mean colour: uint8 [N,6,8,3] -> float32 [N,5]."""
        rng = np.random.default_rng(1)
        nodes = [
            helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
            helper.make_node("Div", ["mean", "scale"], ["scaled"]),
            helper.make_node("Gemm", ["scaled", "weight", "bias"], ["linear"]),
            helper.make_node("Tanh", ["linear"], [output]),
        ]
        weights = {
            "axes": np.array([1, 2]),
            "scale": np.array(64, np.float32),
            "weight": rng.normal(size=(3, FEATURES)).astype(np.float32),
            "bias": rng.normal(size=FEATURES).astype(np.float32),
        }
        frames = helper.make_tensor_value_info("frames", dtype, [batch, HEIGHT, WIDTH, 3])
        features = helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, FEATURES])
        return _model(nodes, [frames], [features], weights)

    def temporal(
        self, *, guard: bool = True, always_ok: bool = False, gain: float = 1.5, state_dtype: int = TensorProto.FLOAT
    ) -> bytes:
        """An LSTM cell over [features, dt]; `guard=False` keeps non-finite state, `always_ok` calls it well."""
        rng = np.random.default_rng(2)
        real = TensorProto.FLOAT
        nodes = [
            helper.make_node("Cast", ["h"], ["h_in"], to=real),
            helper.make_node("Cast", ["c"], ["c_in"], to=real),
            helper.make_node("Unsqueeze", ["keep", "one_axis"], ["keep_column"]),
            helper.make_node("Greater", ["keep_column", "zero"], ["kept"]),
            helper.make_node("Where", ["kept", "h_in", "zero"], ["h_0"]),
            helper.make_node("Where", ["kept", "c_in", "zero"], ["c_0"]),
            helper.make_node("Unsqueeze", ["dt", "one_axis"], ["dt_given"]),
            helper.make_node("Where", ["kept", "dt_given", "nominal"], ["dt_column"]),
            helper.make_node("Concat", ["features", "dt_column", "h_0"], ["x"], axis=1),
            helper.make_node("Gemm", ["x", "weight", "bias"], ["gates"]),
            helper.make_node("Split", ["gates"], ["i", "f", "g", "o"], axis=1, num_outputs=4),
            *[helper.make_node("Sigmoid", [gate], [f"{gate}_gate"]) for gate in "ifo"],
            helper.make_node("Tanh", ["g"], ["g_gate"]),
            helper.make_node("Mul", ["f_gate", "c_0"], ["kept_c"]),
            helper.make_node("Mul", ["i_gate", "g_gate"], ["new_c"]),
            helper.make_node("Add", ["kept_c", "new_c"], ["c_1"]),
            helper.make_node("Tanh", ["c_1"], ["c_squashed"]),
            helper.make_node("Mul", ["o_gate", "c_squashed"], ["h_1"]),
            helper.make_node("Gemm", ["h_1", "head", "head_bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["prob"], axis=-1),
            helper.make_node("ReduceSum", ["logits", "one_axis"], ["total"], keepdims=1),
            helper.make_node("Sub", ["total", "total"], ["finite_is_zero"]),  # inf - inf and nan - nan are nan
            helper.make_node("Equal", ["finite_is_zero", "zero"], ["ok_column"]),
            helper.make_node("Squeeze", ["ok_column", "one_axis"], ["ok_row"]),
            helper.make_node("Or", ["ok_row", "yes"], ["always_row"]),
            helper.make_node("Cast", ["always_row" if always_ok else "ok_row"], ["ok"], to=real),
            helper.make_node("Where", ["ok_column", "h_1", "zero"] if guard else ["always", "h_1", "zero"], ["h_out"]),
            helper.make_node("Where", ["ok_column", "c_1", "zero"] if guard else ["always", "c_1", "zero"], ["c_out"]),
            helper.make_node("Cast", ["h_out"], ["h_next"], to=state_dtype),
            helper.make_node("Cast", ["c_out"], ["c_next"], to=state_dtype),
        ]
        weights = {
            "one_axis": np.array([1]),
            "zero": np.zeros((1, 1), np.float32),
            "nominal": np.full((1, 1), 1 / FPS, np.float32),
            "yes": np.ones(1, np.bool_),
            "always": np.ones((1, 1), np.bool_),
            "weight": (gain * rng.normal(size=(FEATURES + 1 + HIDDEN, 4 * HIDDEN))).astype(np.float32),
            "bias": rng.normal(size=4 * HIDDEN).astype(np.float32),
            "head": (2 * rng.normal(size=(HIDDEN, len(LABELS)))).astype(np.float32),
            "head_bias": np.zeros(len(LABELS), np.float32),
        }
        rows = [("features", real, FEATURES), ("dt", real, 0), ("keep", real, 0)]
        rows += [("h", state_dtype, HIDDEN), ("c", state_dtype, HIDDEN)]
        answers = [("prob", real, len(LABELS)), ("logits", real, len(LABELS)), ("ok", real, 0)]
        # the outputs in another order than the inputs: only the manifest's map pairs them
        answers += [("c_next", state_dtype, HIDDEN), ("h_next", state_dtype, HIDDEN)]
        return _model(nodes, [_info(*row) for row in rows], [_info(*row) for row in answers], weights)


def _info(name: str, kind: int, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["N", width] if width else ["N"])


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray],
) -> bytes:
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


WriteBundle = Callable[..., Path]


@pytest.fixture(scope="session")
def graphs() -> Graphs:
    return Graphs()


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    """The manifest of the tiny bundle, without hashes."""
    return Manifest(
        schema=SCHEMA,
        name="tiny",
        version="1",
        family="cnn_lstm",
        labels=LABELS,
        input=FrameInput(HEIGHT, WIDTH, FPS),
        features=(FEATURES,),
        state=(StateTensor("h", "h_next", (HIDDEN,)), StateTensor("c", "c_next", (HIDDEN,))),
        files={},
    )


@pytest.fixture(scope="session")
def write_bundle(graphs: Graphs, manifest: Manifest) -> WriteBundle:
    """`write_bundle(folder, encoder=..., temporal=..., files=..., **manifest fields)` gives the folder it wrote."""

    def write(
        folder: Path,
        *,
        encoder: bytes | None = None,
        temporal: bytes | None = None,
        files: dict[str, bytes] | None = None,
        **changes: object,
    ) -> Path:
        contents = {"encoder.onnx": encoder or graphs.encoder(), "temporal.onnx": temporal or graphs.temporal()}
        contents |= files or {}
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
        changed = msgspec.structs.replace(manifest, files=hashes, **changes)
        (folder / "manifest.yaml").write_text(dump_manifest(changed), encoding="utf-8")
        return folder

    return write


@pytest.fixture(scope="session")
def tiny(write_bundle: WriteBundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(write_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of this test run's own, so that what earlier runs remember decides nothing."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "vidpipe"
