"""The float64 reference: a graph run by the ONNX project's own evaluator, which shares no code with any back end.

Needs the package onnx (the extra `train`); slow, so meant for hundreds of steps.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engines.engine import Array, Feeds
from engines.errors import BackendError


class ReferenceEngine:
    """Runs a graph with every float32 in it widened to float64; has the verb of `Engine` and nothing else."""

    def __init__(self, model: bytes, name: str) -> None:
        self._name = name
        self._evaluator = ReferenceEvaluator(widened(onnx.load_from_string(model)))

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Feed and get named arrays; float32 goes in as float64, and float64 comes out."""
        wide = {name: array.astype(np.float64) if array.dtype == np.float32 else array for name, array in feeds.items()}
        try:
            results = self._evaluator.run(None, wide)
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise BackendError(f"the ONNX reference cannot run {self._name}: {' '.join(str(error).split())}") from error
        return dict(zip(self._evaluator.output_names, results, strict=True))


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which float64 stands wherever float32 stood: tensors, casts and the types of its ends."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    _widen_graph(wide.graph)
    for function in wide.functions:
        _widen_nodes(function.node)
    return wide


def _widen_graph(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del graph.value_info[:]
    _widen_nodes(graph.node)


def _widen_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            _widen_attribute(node, attribute)


def _widen_attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> None:
    if attribute.type == onnx.AttributeProto.GRAPH:
        _widen_graph(attribute.g)
    elif attribute.type == onnx.AttributeProto.TENSOR:
        _widen_tensor(attribute.t)
    elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
        attribute.i = TensorProto.DOUBLE
    elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
        value = attribute.f if attribute.name == "value_float" else list(attribute.floats)
        tensor = numpy_helper.from_array(np.array(value, np.float64))
        attribute.CopyFrom(helper.make_attribute("value", tensor))


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
