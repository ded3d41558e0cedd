"""A step graph that keeps the state of all cameras: pools of rows in, the rows of the batch stepped, pools out.

Around the exported step this sets a gather of the batch's rows and a scatter of what they become, so that on a GPU the
state never leaves the device and one launch does the whole step. For each state tensor `h` of shape `[N, ...]` the
graph has an input `pool_h` and an output `next_pool_h` of shape `[C, ...]`, C rows, beside one input `rows` int32
`[N]`. A row whose `ok` is 0 is zeroed. Rows that are not named keep their values. A batch is filled up by naming a
spare row several times: which of its values stays is not defined, nor does it matter.

Needs the package onnx.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.agreement import OK
from engines.errors import ModelError

ROWS = "rows"
StatePair = tuple[str, str]  # state input, and the output that is its next value


def pool_input(state: str) -> str:
    """The graph's input that holds all rows of the state input `state`."""
    return f"pool_{state}"


def pool_output(state: str) -> str:
    """The graph's output that holds all rows of `state` after the step."""
    return f"next_pool_{state}"


def with_arena(model: bytes, state: Sequence[StatePair]) -> bytes:
    """The step `model` with its state in pools.

    Args:
        model: an ONNX file with the outputs `ok` and those that `state` names.
        state: state inputs and their outputs.

    Raises:
        ModelError: the graph lacks one of them, or uses a name that is needed here.
    """
    step = onnx.load_from_string(model)
    graph = step.graph
    inputs, outputs = ({each.name: each for each in values} for values in (graph.input, graph.output))
    _check(inputs.keys(), outputs.keys(), state)
    gathers: list[onnx.NodeProto] = []
    scatters = [
        helper.make_node("Greater", [OK, "arena.half"], ["arena.well"]),
        helper.make_node("Cast", [ROWS], ["arena.rows"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["arena.rows", "arena.last"], ["arena.places"]),
    ]
    for name, following in state:
        gathers.append(helper.make_node("Gather", [pool_input(name), ROWS], [name], axis=0))
        scatters += _scatter(name, following, rank=len(inputs[name].type.tensor_type.shape.dim))
    nodes = [*gathers, *graph.node, *scatters]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(_constants([len(inputs[name].type.tensor_type.shape.dim) for name, _ in state]))
    _replace(graph.input, {name: _as_pool(inputs[name], pool_input(name)) for name, _ in state})
    _replace(graph.output, {following: _as_pool(inputs[name], pool_output(name)) for name, following in state})
    graph.input.append(helper.make_tensor_value_info(ROWS, TensorProto.INT32, ["N"]))
    onnx.checker.check_model(step)
    return bytes(step.SerializeToString())


def _scatter(name: str, following: str, *, rank: int) -> list[onnx.NodeProto]:
    flag, kept = f"arena.well_{rank}.{name}", f"arena.kept.{name}"
    return [
        helper.make_node("Unsqueeze", ["arena.well", f"arena.axes_{rank}"], [flag])
        if rank > 1
        else helper.make_node("Identity", ["arena.well"], [flag]),
        helper.make_node("Where", [flag, following, "arena.zero"], [kept]),
        helper.make_node("ScatterND", [pool_input(name), "arena.places", kept], [pool_output(name)]),
    ]


def _constants(ranks: Sequence[int]) -> list[onnx.TensorProto]:
    axes = {f"arena.axes_{rank}": np.arange(1, rank, dtype=np.int64) for rank in ranks if rank > 1}
    values = {
        "arena.half": np.float32(0.5),
        "arena.zero": np.float32(0.0),
        "arena.last": np.array([1], np.int64),
        **axes,
    }
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def _as_pool(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    lengths = [axis.dim_value for axis in value.type.tensor_type.shape.dim][1:]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["C", *lengths])


def _replace(values: list[onnx.ValueInfoProto], changes: dict[str, onnx.ValueInfoProto]) -> None:
    changed = [changes.get(each.name, each) for each in values]
    copies = [onnx.ValueInfoProto.FromString(each.SerializeToString()) for each in changed]
    del values[:]
    values.extend(copies)


def _check(inputs: object, outputs: object, state: Sequence[StatePair]) -> None:
    names = list(inputs), list(outputs)  # type: ignore[call-overload]
    for name, following in state:
        if name not in names[0] or following not in names[1]:
            raise ModelError(f"the step has no state {name} -> {following}: its inputs are {', '.join(names[0])}")
    if OK not in names[1]:
        raise ModelError(f"the step has no output {OK}: its outputs are {', '.join(names[1])}")
    if ROWS in names[0]:
        raise ModelError(f"the step has an input called {ROWS}, which names the rows of the pool: rename it")
