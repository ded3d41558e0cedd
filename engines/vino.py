"""The OpenVINO back end: CPU inference with asynchronous requests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from engines.engine import Array, EngineOptions, Feeds, TensorSpec
from engines.errors import BackendError
from engines.feeds import check_feeds
from engines.signal_stack import own_signal_stack

# importing openvino tells its maker over the network that it was imported; where this package is missing, it cannot
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

_OUTPUT_SUFFIX = "/sink_port_0"  # OpenVINO calls the result node of ONNX output `x` `x/sink_port_0`
_NOISE = ("Exception from", "Check '", "FrontEnd API", "Model wasn't", "Summary:", "To facilitate", "While validating")


class OpenVinoEngine:
    """One graph compiled for the CPU by OpenVINO.

    The arithmetic precision is always set, because OpenVINO picks bfloat16 by itself where the CPU has it, which
    moves the answers of a recurrent step by 1e-3 to 1e-2. Compiling can crash the process (seen in 2026.2 to
    2026.4): open it through `engines.backends.open_engines`, which tries that in a child process first.
    """

    backend = "openvino"
    device = "CPU"

    def __init__(self, compiled: ov.CompiledModel, options: EngineOptions) -> None:
        self.version = ov.__version__.split("-")[0]
        self.precision: str = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.inputs = tuple(_spec(port, port.node.friendly_name) for port in compiled.inputs)
        self.outputs = tuple(_spec(port, _output_name(port)) for port in compiled.outputs)
        self._name = options.name
        self._requests = [compiled.create_infer_request() for _ in range(options.requests)]
        self._fed: list[tuple[list[Array], tuple[int, ...]]] = [([], ())] * options.requests
        self._results = [self._own_outputs(request) for request in self._requests]

    @classmethod
    def open(cls, model: bytes, options: EngineOptions) -> OpenVinoEngine:
        """Compile ONNX bytes; see `EngineClass.open`."""
        properties: dict[str, object] = {"INFERENCE_PRECISION_HINT": options.precision, "NUM_STREAMS": options.requests}
        if options.cautious:
            properties["SNIPPETS_MODE"] = "DISABLE"  # its fused code is what crashes
        if options.threads is not None:
            properties["INFERENCE_NUM_THREADS"] = options.threads
        try:
            core = ov.Core()
            graph = core.read_model(model)
            if options.batch is not None:
                _fix_batch(graph, options)
            with own_signal_stack():
                compiled = core.compile_model(graph, cls.device, properties)
            return cls(compiled, options)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot load {options.name}: {_reason(error)}") from error

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """See `Engine.run`."""
        self.start(0, feeds)
        return self.wait(0)

    def start(self, request: int, feeds: Feeds) -> None:
        """See `Engine.start`."""
        check_feeds(self._name, self.inputs, feeds)
        try:
            self._bind(request, [feeds[spec.name] for spec in self.inputs])
            self._requests[request].start_async()
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot run {self._name}: {_reason(error)}") from error

    def done(self, request: int) -> bool:
        """See `Engine.done`."""
        return bool(self._requests[request].wait_for(0))

    def wait(self, request: int) -> dict[str, Array]:
        """See `Engine.wait`."""
        running = self._requests[request]
        try:
            running.wait()
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot run {self._name}: {_reason(error)}") from error
        results = self._results[request] or [running.get_output_tensor(i).data for i in range(len(self.outputs))]
        # copied: the next run of this request writes into the same memory
        return {spec.name: result.copy() for spec, result in zip(self.outputs, results, strict=True)}

    def listen(self, finished: Callable[[int], None]) -> bool:
        """See `Engine.listen`."""
        for number, request in enumerate(self._requests):
            request.set_callback(finished, number)
        return True

    def close(self) -> None:
        """See `Engine.close`."""
        for request in self._requests:
            with suppress(RuntimeError):  # of a run whose own `wait` has reported it
                request.wait()
        self._requests.clear()

    def _bind(self, request: int, arrays: Sequence[Array]) -> None:
        """Hand the arrays over as they are; nothing to do where the last run had the same memory, as most do."""
        plain = [array if array.flags.c_contiguous and array.flags.writeable else array.copy() for array in arrays]
        where = tuple([fact for array in plain for fact in (_address(array), *array.shape)])
        if where != self._fed[request][1]:
            self._fed[request] = [], ()
            for index, array in enumerate(plain):
                self._requests[request].set_input_tensor(index, ov.Tensor(array, shared_memory=True))
        self._fed[request] = plain, where

    def _own_outputs(self, request: ov.InferRequest) -> list[Array]:
        """Arrays that the request writes its results into; none where their lengths change from run to run."""
        if any(length is None for spec in self.outputs for length in spec.shape):
            return []
        arrays = [np.zeros(tuple(length or 0 for length in spec.shape), spec.dtype) for spec in self.outputs]
        for index, array in enumerate(arrays):
            request.set_output_tensor(index, ov.Tensor(array, shared_memory=True))
        return arrays


def _address(array: Array) -> int:
    # __array_interface__ interns its keys anew each time, which makes CPython's table of strings grow by megabytes
    return array.ctypes.data


def _fix_batch(graph: ov.Model, options: EngineOptions) -> None:
    shapes = {}
    for port in graph.inputs:
        shape = port.partial_shape
        if shape[0].is_static and shape[0].get_length() != options.batch:
            raise BackendError(f"{options.name} has the fixed batch {shape[0]}: export it with any batch")
        shape[0] = options.batch
        shapes[port] = shape
    graph.reshape(shapes)


def _output_name(port: ov.ConstOutput) -> str:
    # a tensor that reaches two outputs has several names, of which only the node says which one this is
    name: str = port.node.friendly_name.removesuffix(_OUTPUT_SUFFIX)
    return name if name in port.get_names() else str(port.get_any_name())


def _spec(port: ov.ConstOutput, name: str) -> TensorSpec:
    shape = tuple(axis.get_length() if axis.is_static else None for axis in port.partial_shape)
    return TensorSpec(name, port.element_type.to_dtype().name, shape)


def _reason(error: Exception) -> str:
    """What an OpenVINO message says, without the lines that name its source files or its manuals."""
    lines = [line.strip(" -.") for line in str(error).splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith(_NOISE)) or "no reason given"
