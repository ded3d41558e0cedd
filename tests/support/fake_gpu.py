"""A GPU that is none: pycuda's driver, cuda-bindings' driver and TensorRT's runtime over plain memory.

Everything that is queued on a stream runs only when someone waits for it, so a missing wait gives wrong numbers; memory
is checked for bounds and use after free, host memory for being page-locked, and every call for an active context. The
fake plans are the ONNX files themselves, run by ONNX Runtime. `test_trt_names.py` holds its names to the real modules.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import sys
import types
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from engines import gpu, trt_plan
from engines.trt_build import Built, PlanRequest

NAME, CAPABILITY, VERSION = "Fake GPU", (9, 0), "10.99.0"


class Error(Exception):
    """pycuda.driver.Error."""


class Machine:
    """Memory, streams and what happened."""

    def __init__(self) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.pinned: list[np.ndarray] = []
        self.streams: dict[int, Stream] = {}
        self.active = 0
        self.next_address = itertools.count(1 << 20, 1 << 32)
        self.launches = self.runs = 0
        self.copied: list[tuple[str, int]] = []  # direction, bytes
        self.failing = False  # every kernel fails

    def need_context(self) -> None:
        if not self.active:
            raise Error("invalid device context")

    def view(self, address: int, nbytes: int) -> np.ndarray:
        for base, block in self.memory.items():
            if base <= address and address + nbytes <= base + len(block):
                return block[address - base : address - base + nbytes]
        raise Error(f"an illegal memory access was encountered ({address:#x}, {nbytes} bytes)")

    def is_pinned(self, array: np.ndarray) -> bool:
        start = array.__array_interface__["data"][0]
        spans = ((each.__array_interface__["data"][0], each.nbytes) for each in self.pinned)
        return any(base <= start and start + array.nbytes <= base + size for base, size in spans)


class Stream:
    def __init__(self, machine: Machine) -> None:
        machine.need_context()
        self.machine = machine
        self.handle = len(machine.streams) + 7
        self.queue: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None
        machine.streams[self.handle] = self

    def put(self, work: Callable[[], None]) -> None:
        self.machine.need_context()
        (self.queue if self.captured is None else self.captured).append(work)

    def synchronize(self) -> None:
        self.machine.need_context()
        if self.captured is not None:
            raise Error("operation not permitted when stream is capturing")
        while self.queue:
            self.queue.pop(0)()


class Event:
    def __init__(self, machine: Machine) -> None:
        self.machine, self.stream, self.reached = machine, None, True

    def record(self, stream: Stream) -> None:
        self.reached, self.stream = False, stream
        stream.put(self._reach)

    def _reach(self) -> None:
        self.reached = True

    def query(self) -> bool:
        self.machine.need_context()
        if not self.reached and self.stream is not None and self.stream.queue:
            self.stream.queue.pop(0)()  # time passes
        return self.reached

    def synchronize(self) -> None:
        while not self.query():
            pass


def pycuda_driver(machine: Machine) -> types.ModuleType:
    """`pycuda.driver`."""
    module = types.ModuleType("pycuda.driver")

    class DeviceAllocation:
        def __init__(self, nbytes: int) -> None:
            machine.need_context()
            self.address = next(machine.next_address)
            machine.memory[self.address] = np.full(nbytes, 0xA5, np.uint8)

        def __int__(self) -> int:
            return self.address

        def __del__(self) -> None:
            machine.memory.pop(self.address, None)

    class Context:
        def push(self) -> None:
            machine.active += 1

        @staticmethod
        def pop() -> None:
            machine.active -= 1

    class Device:
        def __init__(self, index: int) -> None:
            assert index == 0

        def retain_primary_context(self) -> Context:
            return Context()

    def pagelocked_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        machine.need_context()
        array = np.full(shape, 0x5A, dtype)
        machine.pinned.append(array)
        return array

    def checked(array: np.ndarray) -> np.ndarray:
        assert array.flags.c_contiguous
        assert machine.is_pinned(array), "pageable memory: the copy would not be asynchronous"
        return array

    def memcpy_htod_async(dest: int, src: np.ndarray, stream: Stream) -> None:
        checked(src)

        def work() -> None:
            machine.view(dest, src.nbytes)[:] = np.frombuffer(src.tobytes(), np.uint8)
            machine.copied.append(("up", src.nbytes))

        stream.put(work)

    def memcpy_dtoh_async(dest: np.ndarray, src: int, stream: Stream) -> None:
        checked(dest)

        def work() -> None:
            dest[...] = machine.view(src, dest.nbytes).view(dest.dtype).reshape(dest.shape)
            machine.copied.append(("down", dest.nbytes))

        stream.put(work)

    def memcpy_dtod_async(dest: int, src: int, size: int, stream: Stream) -> None:
        def work() -> None:
            machine.view(dest, size)[:] = machine.view(src, size).copy()

        stream.put(work)

    def memset_d8_async(dest: int, data: int, count: int, stream: Stream) -> None:
        stream.put(lambda: machine.view(dest, count).fill(data))

    for each in (Context, Device, DeviceAllocation, Error):
        setattr(module, each.__name__, each)
    for function in (pagelocked_empty, memcpy_htod_async, memcpy_dtoh_async, memcpy_dtod_async, memset_d8_async):
        setattr(module, function.__name__, function)
    module.init = lambda: None
    module.mem_alloc = DeviceAllocation
    module.Stream = lambda: Stream(machine)
    module.Event = lambda flags=0: Event(machine)
    module.event_flags = types.SimpleNamespace(DISABLE_TIMING=2)
    return module


def cuda_driver(machine: Machine, *, refuses_capture: bool = False) -> types.ModuleType:
    """`cuda.bindings.driver`, the part for graphs."""
    module = types.ModuleType("cuda.bindings.driver")
    success = types.SimpleNamespace(name="CUDA_SUCCESS")
    refused = types.SimpleNamespace(name="CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")

    class CUstream:
        def __init__(self, handle: int) -> None:
            self.stream = machine.streams[handle]

    def cuStreamBeginCapture(stream: CUstream, mode: object) -> tuple[object, ...]:
        assert not stream.stream.queue, "a capture begins on an idle stream"
        stream.stream.captured = []
        return (success,)

    def cuStreamEndCapture(stream: CUstream) -> tuple[object, ...]:
        recorded, stream.stream.captured = stream.stream.captured, None
        return (refused, None) if refuses_capture else (success, recorded)

    def cuGraphLaunch(executable: list[Callable[[], None]], stream: CUstream) -> tuple[object, ...]:
        machine.need_context()
        machine.launches += 1
        stream.stream.queue.extend(executable)
        return (success,)

    module.CUresult = types.SimpleNamespace(CUDA_SUCCESS=success)
    module.CUstream = CUstream
    module.CUstreamCaptureMode = types.SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
    module.cuStreamBeginCapture, module.cuStreamEndCapture = cuStreamBeginCapture, cuStreamEndCapture
    module.cuGraphInstantiate = lambda graph, flags: (success, graph)
    module.cuGraphLaunch = cuGraphLaunch
    module.cuGraphDestroy = module.cuGraphExecDestroy = lambda graph: (success,)
    return module


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._profile = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, index: int, handle: int) -> bool:
        self._profile = index
        return index < len(self._engine._profiles)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._engine._profiles[self._profile][name]
        self._shapes[name] = tuple(shape)
        return all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine._inputs if name not in self._shapes]

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert name in self._engine._tensors
        self._addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        machine = self._engine._machine
        if machine.failing:
            return False
        assert self._addresses.keys() == self._engine._tensors.keys()
        machine.streams[handle].put(lambda: self._compute(dict(self._addresses)))
        return True

    def _compute(self, addresses: dict[str, int]) -> None:
        engine = self._engine
        engine._machine.runs += 1
        feeds = {}
        for name in engine._inputs:
            dtype, shape = np.dtype(engine._tensors[name][0]), self._shapes[name]
            data = engine._machine.view(addresses[name], int(np.prod(shape)) * dtype.itemsize)
            feeds[name] = data.view(dtype).reshape(shape).copy()
        for name, result in zip(engine._outputs, engine._session.run(engine._outputs, feeds), strict=True):
            engine._machine.view(addresses[name], result.nbytes)[:] = np.frombuffer(result.tobytes(), np.uint8)


class ICudaEngine:
    def __init__(self, machine: Machine, model: bytes, profiles: list[dict[str, Any]]) -> None:
        self._machine, self._profiles = machine, profiles
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = 1
        self._session = ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        graph = onnx.load_from_string(model).graph
        self._inputs = [each.name for each in graph.input]
        self._outputs = [each.name for each in graph.output]
        self._tensors = {each.name: _tensor(each) for each in (*graph.input, *graph.output)}

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self._inputs else "out"

    def get_tensor_dtype(self, name: str) -> np.dtype[Any]:
        return self._tensors[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name][1]

    def create_execution_context(self) -> IExecutionContext:
        self._machine.need_context()
        return IExecutionContext(self)


def _tensor(value: onnx.ValueInfoProto) -> tuple[np.dtype[Any], tuple[int, ...]]:
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return dtype, tuple(axis.dim_value if axis.HasField("dim_value") else -1 for axis in kind.shape.dim)


def fake_plan(model: bytes, profiles: list[dict[str, Any]]) -> bytes:
    """What `FakeTensorRt` deserialises."""
    return json.dumps(profiles).encode() + b"\n" + model


def tensorrt(machine: Machine) -> types.ModuleType:
    """The runtime half of `tensorrt`; the builder half is `build` below, given in place of `engines.trt_build`."""
    module = types.ModuleType("tensorrt")
    module.__version__ = VERSION

    class ILogger:
        ERROR, INTERNAL_ERROR, WARNING = 1, 0, 2

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
            machine.need_context()
            profiles, _, model = plan.partition(b"\n")
            if profiles == b"of another GPU":
                self._logger.log(1, "The engine plan file is generated on an incompatible device")
                return None
            return ICudaEngine(machine, model, json.loads(profiles))

    module.ILogger, module.Runtime = ILogger, Runtime
    module.TensorIOMode = types.SimpleNamespace(INPUT="in", OUTPUT="out")
    module.nptype = lambda dtype: dtype
    return module


class FakeLibrary:
    """`libcuda.so.1` as far as `engines.gpu` asks it."""

    status = 0

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDriverGetVersion(self, version: Any) -> None:
        version._obj.value = 13000

    def cuDeviceGetCount(self, count: Any) -> None:
        count._obj.value = 1

    def cuDeviceGet(self, device: Any, index: int) -> None:
        device._obj.value = index

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:
        name.value = NAME.encode()

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> None:
        memory._obj.value = 80 << 30

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> None:
        value._obj.value = CAPABILITY[attribute - 75]


def _library(real: Callable[..., Any], name: str, *rest: Any, **more: Any) -> Any:
    return FakeLibrary() if name == "libcuda.so.1" else real(name, *rest, **more)


def install(monkeypatch: Any, *, refuses_capture: bool = False) -> Iterator[Machine]:
    """Put the fake in the place of the real modules; a fixture's body."""
    machine = Machine()
    builds: list[PlanRequest] = []

    def build_plan(runtime: object, model: bytes, request: PlanRequest, timings: bytes = b"") -> Built:
        builds.append(request)
        shapes = {each.name: _tensor(each)[1] for each in onnx.load_from_string(model).graph.input}
        profiles = [
            {
                name: [[length, *shape[1:]] for length in request.ranges.get(name, (batch,) * 3)]
                for name, shape in shapes.items()
            }
            for batch in request.batches
        ]
        return Built(fake_plan(model, profiles), b"timings")

    machine.builds = builds
    pycuda, cuda, bindings = (types.ModuleType(name) for name in ("pycuda", "cuda", "cuda.bindings"))
    pycuda.driver, bindings.driver = pycuda_driver(machine), cuda_driver(machine, refuses_capture=refuses_capture)
    modules = {
        "pycuda": pycuda,
        "pycuda.driver": pycuda.driver,
        "cuda": cuda,
        "cuda.bindings": bindings,
        "cuda.bindings.driver": bindings.driver,
        "tensorrt": tensorrt(machine),
    }
    for name, module in modules.items():
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "engines.trt_graph", raising=False)  # bound to the real bindings at import
    monkeypatch.setattr(trt_plan, "build_plan", build_plan)
    real = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda name, *rest, **more: _library(real, name, *rest, **more))
    gpu.driver.cache_clear()
    yield machine
    gpu.driver.cache_clear()
    sys.modules.pop("engines.trt_graph", None)
