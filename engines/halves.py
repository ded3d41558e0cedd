"""A float32 graph in half precision: weights and heavy arithmetic in float16, what crosses the boundary as it was.

A strongly typed TensorRT takes the arithmetic from the file, so the file is what has to change. Only matrix products
and convolutions, and the operators between them that lose nothing, become float16. Everything ahead of the first of
them (the preprocessing, which counts in pixel values) stays float32, and so do sums, norms, softmax and exponentials.
With `products_only` nothing else becomes float16: the choice for a recurrent step, whose state must gather in float32.

Needs the package onnx.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.errors import ModelError

_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_LOSSLESS = frozenset(
    {"Add", "AveragePool", "Clip", "Concat", "Flatten", "Gather", "GlobalAveragePool", "HardSigmoid", "HardSwish"}
    | {"Identity", "LeakyRelu", "MaxPool", "Mul", "Pad", "Relu", "Reshape", "Sigmoid", "Slice", "Split", "Squeeze"}
    | {"Tanh", "Transpose", "Unsqueeze"}
)
_LARGEST = float(np.finfo(np.float16).max)


def halved(model: bytes, *, products_only: bool = False) -> bytes:
    """The ONNX file `model` with float16 inside; inputs and outputs keep their names, types and shapes.

    Raises:
        ModelError: a weight does not fit float16.
    """
    graph_file = onnx.load_from_string(model)
    _Rewrite(graph_file, products_only=products_only).run()
    onnx.checker.check_model(graph_file)
    return bytes(graph_file.SerializeToString())


class _Rewrite:
    """One walk over a graph in its topological order; each tensor exists as float32, as float16, or as both."""

    def __init__(self, model: onnx.ModelProto, *, products_only: bool) -> None:
        graph = self._graph = model.graph
        self._products_only = products_only
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self._floats = {
            value.name
            for value in (*inferred.input, *inferred.value_info, *inferred.output)
            if value.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        self._weights = {each.name: each for each in graph.initializer if each.data_type == TensorProto.FLOAT}
        self._floats |= self._weights.keys()
        self._native_half: set[str] = set()  # tensors whose own value is float16
        self._twins: dict[tuple[str, int], str] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        """Rewrite the graph in place."""
        for node in list(self._graph.node):
            half = self._wants_half(node)
            for i, name in enumerate(node.input):
                if name in self._floats:
                    node.input[i] = self._as(name, TensorProto.FLOAT16 if half else TensorProto.FLOAT)
            self._nodes.append(node)
            if half:
                self._keep_interface(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        del self._graph.value_info[:]
        used = {name for node in self._nodes for name in node.input}
        kept = [each for each in self._graph.initializer if each.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _wants_half(self, node: onnx.NodeProto) -> bool:
        if node.op_type in _PRODUCTS:
            return True
        if self._products_only or node.op_type not in _LOSSLESS:
            return False
        return any(name in self._native_half for name in node.input)

    def _as(self, name: str, kind: int) -> str:
        """The name under which the tensor exists in `kind`, made where it does not yet."""
        own = TensorProto.FLOAT16 if name in self._native_half else TensorProto.FLOAT
        if kind == own:
            return name
        if (name, kind) not in self._twins:
            twin = self._twins[name, kind] = f"{name}.{'half' if kind == TensorProto.FLOAT16 else 'float'}"
            if name in self._weights:
                self._graph.initializer.append(_half_weight(self._weights[name], twin))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [twin], to=kind))
        return self._twins[name, kind]

    def _keep_interface(self, node: onnx.NodeProto) -> None:
        """Note the node's results as float16; one that the graph gives out is cast back under its own name."""
        given_out = {value.name for value in self._graph.output}
        for i, name in enumerate(node.output):
            if name in given_out:
                inner = node.output[i] = f"{name}.inner"
                self._native_half.add(inner)
                self._floats.add(inner)
                self._nodes.append(helper.make_node("Cast", [inner], [name], to=TensorProto.FLOAT))
            else:
                self._native_half.add(name)


def _half_weight(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    largest = float(np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0.0))
    if largest > _LARGEST:
        raise ModelError(f"the weight {tensor.name} reaches {largest:.3g}, more than float16 holds: use precision f32")
    return numpy_helper.from_array(values.astype(np.float16), name)


def float_types(model: bytes) -> set[str]:
    """The element types of all weights of a graph, e.g. `{"FLOAT", "FLOAT16"}`; for checks and reports."""
    return set(_type_names(onnx.load_from_string(model).graph.initializer))


def _type_names(tensors: Iterable[onnx.TensorProto]) -> Iterable[str]:
    for tensor in tensors:
        yield TensorProto.DataType.Name(tensor.data_type)
