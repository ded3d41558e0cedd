"""The TensorRT back end: plans, pinned memory, a stream per request and CUDA graphs, on an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engines.engine import Array, EngineOptions, Feeds
from engines.errors import BackendError
from engines.feeds import check_feeds
from engines.gpu import driver
from engines.trt_cuda import Cuda
from engines.trt_lane import Lane, is_pool
from engines.trt_load import load_trt
from engines.trt_plan import Plan, load_plan, plan_key


class TensorRtEngine:
    """One graph as a TensorRT plan on the first GPU, tensors fed from and given to the host.

    `cuda`, `plan` and `new_lane` are for those who keep tensors on the device: see `engines.trt_encoder`.
    """

    backend = "tensorrt"

    def __init__(self, cuda: Cuda, plan: Plan, options: EngineOptions) -> None:
        self.cuda, self.plan = cuda, plan
        self.version, self.precision, self.device = plan.key.runtime_version, options.precision, plan.key.gpu
        self.inputs, self.outputs = plan.inputs, plan.outputs
        self._name = options.name
        self._lanes: dict[int, Lane] = {}
        self._counts: dict[int, tuple[int, int]] = {}

    @classmethod
    def open(cls, model: bytes, options: EngineOptions) -> TensorRtEngine:
        """Load the plan of an ONNX file, built first where there is none yet; see `EngineClass.open`."""
        found = driver()
        if found.problem:
            raise BackendError(f"TensorRT cannot load {options.name}: {found.problem}")
        runtime = load_trt()
        cuda = Cuda()
        with cuda.active(), cuda.errors(f"TensorRT cannot load {options.name}"):
            return cls(cuda, load_plan(runtime, model, plan_key(runtime, model, options, found)), options)

    def new_lane(self, *, download: bool) -> Lane:
        """A request's stream and memory."""
        with self.cuda.active(), self.cuda.errors(f"no GPU memory for {self._name}"):
            return Lane(self.cuda, self.plan, download=download)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """See `Engine.run`."""
        self.start(0, feeds)
        return self.wait(0)

    def start(self, request: int, feeds: Feeds) -> None:
        """See `Engine.start`."""
        check_feeds(self._name, self.inputs, feeds)
        count = max(len(array) for name, array in feeds.items() if not is_pool(name))
        rows = max((len(array) for name, array in feeds.items() if is_pool(name)), default=0)
        if request not in self._lanes:
            self._lanes[request] = self.new_lane(download=True)
        lane = self._lanes[request]
        if count <= max(self.plan.key.batches):  # else `launch` refuses it
            for name, array in feeds.items():
                np.copyto(lane.fed[name][: len(array)], array)
        with self.cuda.active(), self.cuda.errors(f"TensorRT cannot run {self._name}"):
            lane.launch(count, rows)
        self._counts[request] = count, rows

    def done(self, request: int) -> bool:
        """See `Engine.done`."""
        with self.cuda.active(), self.cuda.errors(f"TensorRT cannot run {self._name}"):
            return self._lanes[request].done()

    def wait(self, request: int) -> dict[str, Array]:
        """See `Engine.wait`."""
        lane = self._lanes[request]
        count, rows = self._counts.pop(request)
        with self.cuda.active(), self.cuda.errors(f"TensorRT cannot run {self._name}"):
            lane.wait()
        # copied: the next run of this request writes into the same memory
        return {name: array[: rows if is_pool(name) else count].copy() for name, array in lane.given.items()}

    def listen(self, finished: Callable[[int], None]) -> bool:  # noqa: ARG002 - the contract's signature
        """See `Engine.listen`; a GPU tells nobody, so one has to wait for it."""
        return False

    def close(self) -> None:
        """See `Engine.close`."""
        with self.cuda.active():
            for lane in self._lanes.values():
                lane.close()
            self._lanes.clear()
