"""A bundle that reads two further inputs: it says `loud` where `audio` is there with a first value above one half."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.further import FurtherInput
from engines.manifest import SCHEMA, ClipRule, FrameInput, Manifest, StateTensor, dump_manifest

HEIGHT, WIDTH, FPS = 6, 8, 5.0
FURTHER = (FurtherInput("audio", 2, max_age_s=0.5), FurtherInput("door", 1))
STEP_FEATURES = 3 + 3 + 2


def write_further_bundle(folder: Path, further: tuple[FurtherInput, ...] = FURTHER) -> Path:
    """Write it; the folder."""
    contents = {"encoder.onnx": _encoder(), "temporal.onnx": _temporal()}
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    manifest = Manifest(
        schema=SCHEMA,
        name="listener",
        version="1",
        family="multimodal",
        labels=("quiet", "loud"),
        input=FrameInput(HEIGHT, WIDTH, FPS),
        features=(3,),
        state=(StateTensor("age", "next_age", (1,)),),
        files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
        clip=ClipRule(length_s=1.0, stride_s=1.0),
        further=further,
    )
    (folder / "manifest.yaml").write_text(dump_manifest(manifest), encoding="utf-8")
    return folder


def _encoder() -> bytes:
    """The mean colour, 0 to 1."""
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "scale"], ["features"]),
    ]
    weights = {"axes": np.array([1, 2]), "scale": np.array(255, np.float32)}
    return _model(nodes, {"frames": (HEIGHT, WIDTH, 3)}, {"features": (3,)}, weights)


def _temporal() -> bytes:
    """Linear in what it reads, with the seconds since the start as state."""
    weight = np.zeros((STEP_FEATURES, 2), np.float32)
    weight[3, 1] = 6.0  # audio's first value; a missing input is all zero
    nodes = [
        helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["prob"], axis=-1),
        helper.make_node("Unsqueeze", ["keep", "one"], ["keep_column"]),
        helper.make_node("Unsqueeze", ["dt", "one"], ["dt_column"]),
        helper.make_node("Mul", ["keep_column", "age"], ["kept"]),
        helper.make_node("Add", ["kept", "dt_column"], ["next_age"]),
        helper.make_node("Mul", ["keep", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "yes"], ["ok"]),
    ]
    weights = {
        "weight": weight,
        "bias": np.array([3, 0], np.float32),
        "one": np.array([1]),
        "zero": np.zeros(1, np.float32),
        "yes": np.ones(1, np.float32),
    }
    inputs = {"features": (STEP_FEATURES,), "dt": (), "keep": (), "age": (1,)}
    return _model(nodes, inputs, {"prob": (2,), "logits": (2,), "ok": (), "next_age": (1,)}, weights)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    weights: dict[str, np.ndarray],
) -> bytes:
    kinds = {"frames": TensorProto.UINT8}
    values = [
        [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), ["N", *s]) for n, s in side.items()]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(
        nodes, "listener", *values, [numpy_helper.from_array(array, name) for name, array in weights.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
