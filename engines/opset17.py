"""An ONNX graph of opset 18 to 20 in the words of opset 17, the last that TensorRT 8.6 reads.

What changed in between and occurs in exported networks: since 18 the axes of the reductions are an input and `Split`
counts its parts in an attribute, and since 19 `Cast` has a rule for float8
(https://github.com/onnx/onnx/blob/main/docs/Changelog.md).

Needs the package onnx.
"""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper

from engines.errors import BackendError

OPSET = 17
_REDUCTIONS = frozenset(
    {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"}
    | {"ReduceSumSquare"}
)
_NEWER = {"Cast": "saturate", "Split": "num_outputs"}


def lowered(model: bytes, name: str) -> bytes:
    """The same graph at opset 17; unchanged where it is that old already.

    Raises:
        BackendError: it uses what opset 17 has no words for; `name` is what the error calls it.
    """
    loaded = onnx.load_from_string(model)
    (opset,) = (each for each in loaded.opset_import if each.domain in ("", "ai.onnx"))
    if opset.version <= OPSET:
        return model
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in loaded.graph.initializer}
    for node in loaded.graph.node:
        if node.op_type in _NEWER:
            _drop(node, _NEWER[node.op_type])
        if node.op_type in _REDUCTIONS:
            _drop(node, "noop_with_empty_axes")
            if len(node.input) > 1:
                if node.input[1] not in constants:
                    raise BackendError(f"{name} reduces over axes that are not constant, which opset 17 cannot say")
                node.attribute.append(helper.make_attribute("axes", constants[node.input[1]].tolist()))
                del node.input[1:]
    opset.version = OPSET
    try:
        onnx.checker.check_model(loaded, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise BackendError(f"{name} cannot be put into opset 17, as TensorRT 8 needs it: {reason}") from error
    return bytes(loaded.SerializeToString())


def _drop(node: onnx.NodeProto, attribute: str) -> None:
    kept = [each for each in node.attribute if each.name != attribute]
    del node.attribute[:]
    node.attribute.extend(kept)
