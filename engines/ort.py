"""The ONNX Runtime back end: CPU inference; asynchronous requests are worker threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from engines.engine import Array, EngineOptions, Feeds, TensorSpec, nobody
from engines.errors import BackendError
from engines.feeds import check_feeds

_FAILURES = (
    _state.EPFail,
    _state.Fail,
    _state.InvalidArgument,
    _state.InvalidGraph,
    _state.InvalidProtobuf,
    _state.NotImplemented,
    _state.RuntimeException,
    RuntimeError,
)
_FATAL = 4  # log severity: failures reach the user as exceptions, not as lines on stderr
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class OrtEngine:
    """One graph in an ONNX Runtime session on the CPU, in the precision of the file; takes any batch, fixes none."""

    backend = "onnxruntime"
    device = "CPU"

    def __init__(self, session: ort.InferenceSession, options: EngineOptions) -> None:
        self.version = str(ort.__version__)
        self.precision = options.precision
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_spec(node) for node in session.get_outputs())
        self._name = options.name
        self._session = session
        self._workers = ThreadPoolExecutor(options.requests, "onnxruntime") if options.requests > 1 else None
        self._pending: dict[int, Future[list[Array]]] = {}
        self._tell: Callable[[int], None] = nobody

    @classmethod
    def open(cls, model: bytes, options: EngineOptions) -> OrtEngine:
        """Load ONNX bytes; see `EngineClass.open`."""
        if options.precision != "f32":
            raise BackendError(f"ONNX Runtime runs {options.name} in f32 only, not in {options.precision}")
        settings = ort.SessionOptions()
        threads = options.threads or len(os.sched_getaffinity(0))
        settings.intra_op_num_threads = max(1, threads // options.requests)
        settings.inter_op_num_threads = 1
        # a spinning pool takes the cores that decode the cameras
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.log_severity_level = _FATAL
        try:
            return cls(ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"]), options)
        except _FAILURES as error:
            raise BackendError(f"ONNX Runtime cannot load {options.name}: {_one_line(error)}") from error

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """See `Engine.run`."""
        check_feeds(self._name, self.inputs, feeds)
        return self._named(self._compute(feeds))

    def start(self, request: int, feeds: Feeds) -> None:
        """See `Engine.start`."""
        check_feeds(self._name, self.inputs, feeds)
        if self._workers is not None:
            running = self._workers.submit(self._compute, feeds)
        else:
            running = Future()
            running.set_result(self._compute(feeds))
        self._pending[request] = running
        running.add_done_callback(lambda _: self._tell(request))

    def done(self, request: int) -> bool:
        """See `Engine.done`."""
        return self._pending[request].done()

    def wait(self, request: int) -> dict[str, Array]:
        """See `Engine.wait`."""
        return self._named(self._pending.pop(request).result())

    def listen(self, finished: Callable[[int], None]) -> bool:
        """See `Engine.listen`."""
        self._tell = finished
        return True

    def close(self) -> None:
        """See `Engine.close`."""
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)
        self._pending.clear()

    def _compute(self, feeds: Feeds) -> list[Array]:
        try:
            return self._session.run(None, dict(feeds))  # type: ignore[no-any-return]
        except _FAILURES as error:
            raise BackendError(f"ONNX Runtime cannot run {self._name}: {_one_line(error)}") from error

    def _named(self, results: list[Array]) -> dict[str, Array]:
        return {spec.name: result for spec, result in zip(self.outputs, results, strict=True)}


def _spec(node: ort.NodeArg) -> TensorSpec:
    shape = tuple(length if isinstance(length, int) else None for length in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
