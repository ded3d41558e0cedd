"""CUDA graphs by stream capture, through cuda-bindings.

CUDA driver API, "Graph Management" and "Stream Management" (cuStreamBeginCapture, cuStreamEndCapture).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cuda.bindings import driver as cu

from engines.errors import BackendError


class _Graph:
    """An executable graph, destroyed with its last reference."""

    def __init__(self, graph: Any, stream: Any) -> None:
        self._stream = stream
        self._executable = _checked(cu.cuGraphInstantiate(graph, 0), "cuGraphInstantiate")

    def __call__(self) -> None:
        _checked(cu.cuGraphLaunch(self._executable, self._stream), "cuGraphLaunch")

    def __del__(self) -> None:
        executable = getattr(self, "_executable", None)
        if executable is not None:
            cu.cuGraphExecDestroy(executable)


def record(handle: int, work: Callable[[], None]) -> Callable[[], None]:
    """Record what `work` queues on the stream with this handle; the result replays it there.

    Raises:
        BackendError: `work` did something that a graph cannot hold.
    """
    stream = cu.CUstream(handle)
    mode = cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    _checked(cu.cuStreamBeginCapture(stream, mode), "cuStreamBeginCapture")
    try:
        work()
    finally:
        ended = cu.cuStreamEndCapture(stream)
    graph = _checked(ended, "cuStreamEndCapture")
    try:
        return _Graph(graph, stream)
    finally:
        cu.cuGraphDestroy(graph)


def _checked(answer: tuple[Any, ...], what: str) -> Any:
    if answer[0] != cu.CUresult.CUDA_SUCCESS:
        raise BackendError(f"{what} says {answer[0].name}")
    return answer[1] if len(answer) > 1 else None
