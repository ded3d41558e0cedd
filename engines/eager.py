"""The torch back end: an ONNX graph run operator by operator, on the GPU where torch has one; for comparison.

It shares no code with the other back ends, and what torch computes is what the trainer computed. It is slow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from engines.eager_ops import OPERATORS, Operator
from engines.engine import Array, EngineOptions, Feeds, TensorSpec, nobody
from engines.errors import BackendError
from engines.feeds import check_feeds

_FAILURES = (IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class _Node:
    """One operator: its function, its tensors by name, and the tensors that nobody needs after it."""

    kind: str
    operator: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    spent: tuple[str, ...]


class TorchEngine:
    """One graph in float32, TensorFloat-32 off; takes any batch. A run is over when `start` returns."""

    backend = "torch"

    def __init__(self, graph: onnx.GraphProto, options: EngineOptions) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.version = torch.__version__
        self.precision = options.precision
        self.device = torch.cuda.get_device_name() if self._device.type == "cuda" else "CPU"
        constants = {tensor.name for tensor in graph.initializer}
        self.inputs = tuple(_spec(value) for value in graph.input if value.name not in constants)
        self.outputs = tuple(_spec(value) for value in graph.output)
        self._name = options.name
        self._threads = options.threads or len(os.sched_getaffinity(0))
        self._constants = {tensor.name: self._constant(tensor) for tensor in graph.initializer}
        self._nodes = _plan(graph)
        self._finished: dict[int, dict[str, Array]] = {}
        self._tell: Callable[[int], None] = nobody

    @classmethod
    def open(cls, model: bytes, options: EngineOptions) -> TorchEngine:
        """Load ONNX bytes; see `EngineClass.open`."""
        if options.precision != "f32":
            raise BackendError(f"torch runs {options.name} in f32 only, not in {options.precision}")
        try:
            loaded = onnx.load_from_string(model)
            onnx.checker.check_model(loaded)
        except (DecodeError, onnx.checker.ValidationError) as error:
            raise BackendError(f"torch cannot load {options.name}: {_one_line(error)}") from error
        unknown = sorted({node.op_type for node in loaded.graph.node} - OPERATORS.keys())
        if unknown:
            raise BackendError(
                f"torch cannot load {options.name}: vidpipe has no {', '.join(unknown)} for it, use another back end"
            )
        return cls(loaded.graph, options)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """See `Engine.run`."""
        check_feeds(self._name, self.inputs, feeds)
        try:
            return self._compute(feeds)
        except _FAILURES as error:
            raise BackendError(f"torch cannot run {self._name}: {_one_line(error)}") from error

    def start(self, request: int, feeds: Feeds) -> None:
        """See `Engine.start`."""
        self._finished[request] = self.run(feeds)
        self._tell(request)

    def done(self, request: int) -> bool:
        """See `Engine.done`."""
        return request in self._finished

    def wait(self, request: int) -> dict[str, Array]:
        """See `Engine.wait`."""
        return self._finished.pop(request)

    def listen(self, finished: Callable[[int], None]) -> bool:
        """See `Engine.listen`."""
        self._tell = finished
        return True

    def close(self) -> None:
        """See `Engine.close`."""
        self._constants.clear()
        self._finished.clear()

    @torch.inference_mode()
    def _compute(self, feeds: Feeds) -> dict[str, Array]:
        torch.set_num_threads(self._threads)  # of the whole process, so it is set for every run
        values: dict[str, Any] = {"": None, **self._constants}
        values |= {name: torch.tensor(array, device=self._device) for name, array in feeds.items()}
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for node in self._nodes:
                results = node.operator(node.attributes, *(values[name] for name in node.inputs))
                results = results if isinstance(results, tuple) else (results,)
                values.update(zip(node.outputs, results, strict=False))
                for name in node.spent:
                    values.pop(name, None)
            return {spec.name: np.array(values[spec.name].cpu().numpy(), order="C") for spec in self.outputs}

    def _constant(self, tensor: onnx.TensorProto) -> torch.Tensor:
        value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        # whole numbers mostly describe shapes
        return value.to(self._device) if value.is_floating_point() else value


def _plan(graph: onnx.GraphProto) -> list[_Node]:
    last = {name: i for i, node in enumerate(graph.node) for name in node.input}
    kept = {value.name for value in graph.output} | {tensor.name for tensor in graph.initializer} | {""}
    return [
        _Node(
            node.op_type,
            OPERATORS[node.op_type],
            tuple(node.input),
            tuple(node.output),
            {each.name: _attribute(each) for each in node.attribute},
            tuple(name for name in set(node.input) - kept if last[name] == i),
        )
        for i, node in enumerate(graph.node)
    ]


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return torch.from_numpy(numpy_helper.to_array(value).copy())
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, (int, float)) else list(value)


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.tensor_type
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type or TensorProto.FLOAT)).name
    return TensorSpec(value.name, dtype, tuple(each.dim_value or None for each in kind.shape.dim))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
