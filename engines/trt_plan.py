"""A plan that is loaded: the tensors it has, the batches it was built for, and contexts that run it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.agreement import KEEP
from engines.arena import pool_input
from engines.engine import EngineOptions, TensorSpec
from engines.errors import BackendError
from engines.gpu import Driver
from engines.trt_build import Built, PlanRequest, batch_buckets, build_plan
from engines.trt_cache import PlanKey, forget_plan, misfit, plan_for
from engines.trt_load import TensorRt
from engines.trt_log import new_logger

PRECISIONS = ("f32", "f16")
_POOL = pool_input("")
_LEAST_BATCH = 8
_OPSET_20_FROM = 10  # the major version of TensorRT that reads what torch exports


@dataclass(frozen=True)
class Plan:
    """A deserialised plan. `inputs` and `outputs` have None where the first axis varies."""

    cuda_engine: Any
    runtime: Any  # must live as long as the engine
    key: PlanKey
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def bind(self, batch: int, shapes: Mapping[str, tuple[int, ...]], addresses: Mapping[str, int], stream: Any) -> Any:
        """A context for one of the plan's batches in which every tensor has its place for good; queued by `enqueue`."""
        context = self.cuda_engine.create_execution_context()
        if context is None:
            raise BackendError(f"{self.key.name}: TensorRT makes no execution context, probably for lack of GPU memory")
        profile = self.key.batches.index(batch)
        if not context.set_optimization_profile_async(profile, stream.handle):
            raise BackendError(f"{self.key.name}: TensorRT does not take the profile of batch {batch}")
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise BackendError(f"{self.key.name}: {name} {list(shape)} is outside what the plan was built for")
        if missing := context.infer_shapes():
            raise BackendError(f"{self.key.name}: the shapes of {', '.join(missing)} are not known")
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise BackendError(f"{self.key.name}: TensorRT does not take the memory of {name}")
        return context

    def enqueue(self, context: Any, stream: Any) -> None:
        """Queue one run."""
        if not context.execute_async_v3(stream.handle):
            raise BackendError(f"TensorRT cannot run {self.key.name}: see the log")


def plan_key(runtime: TensorRt, model: bytes, options: EngineOptions, driver: Driver) -> PlanKey:
    """What the plan for these options depends on.

    Raises:
        BackendError: the precision is not one of PRECISIONS.
    """
    if options.precision not in PRECISIONS:
        raise BackendError(f"TensorRT runs {options.name} in {' or '.join(PRECISIONS)}, not in {options.precision}")
    gpu = driver.gpus[0] if driver.gpus else None
    return PlanKey(
        model_sha=hashlib.sha256(model).hexdigest(),
        name=options.name,
        runtime=runtime.package,
        runtime_version=runtime.version,
        gpu=gpu.name if gpu else "any",
        capability=gpu.capability if gpu else (0, 0),
        precision=options.precision,
        batches=(options.batch,) if options.batch else batch_buckets(_up(options.max_batch)),
        rows=options.rows,
    )


def _up(most: int) -> int:
    """The next power of two from 8 on, so that one plan serves other numbers of cameras as well."""
    return max(_LEAST_BATCH, 1 << (most - 1).bit_length())


def make_plan(runtime: TensorRt, model: bytes, key: PlanKey, clock: Callable[[], float] = time.monotonic) -> bytes:
    """The plan for `key`, from the cache or built now; raises BackendError."""
    return plan_for(key, lambda timings: _build(runtime, model, key, timings), clock)


def load_plan(runtime: TensorRt, model: bytes, key: PlanKey) -> Plan:
    """Get and deserialise the plan; needs a GPU.

    Raises:
        BackendError: it cannot be built, or TensorRT does not load it; in the latter case it is forgotten.
    """
    plan = make_plan(runtime, model, key)
    log = new_logger(runtime.module)
    try:
        engine_runtime = runtime.module.Runtime(log)
    except TypeError as error:  # "factory function returned nullptr"
        reason = log.first_error("it gives no reason")
        fix = "update the NVIDIA driver, or take another back end"
        raise BackendError(f"{runtime.title} does not start on {key.gpu} ({reason}): {fix}") from error
    cuda_engine = engine_runtime.deserialize_cuda_engine(plan)
    if cuda_engine is None:
        forget_plan(key)
        raise misfit(key, log.first_error("TensorRT gives no reason"))
    specs = [
        _spec(runtime.module, cuda_engine, cuda_engine.get_tensor_name(i)) for i in range(cuda_engine.num_io_tensors)
    ]
    read = [cuda_engine.get_tensor_mode(spec.name) == runtime.module.TensorIOMode.INPUT for spec in specs]
    inputs = tuple(spec for spec, is_input in zip(specs, read, strict=True) if is_input)
    outputs = tuple(spec for spec, is_input in zip(specs, read, strict=True) if not is_input)
    return Plan(cuda_engine, engine_runtime, key, inputs, outputs)


def _build(runtime: TensorRt, model: bytes, key: PlanKey, timings: bytes) -> Built:
    import onnx  # noqa: PLC0415 - optional

    names = [value.name for value in onnx.load_from_string(model).graph.input]
    if key.precision == "f16":
        from engines.halves import halved  # noqa: PLC0415 - needs onnx

        model = halved(model, products_only=KEEP in names)
    if runtime.major < _OPSET_20_FROM:
        from engines.opset17 import lowered  # noqa: PLC0415 - needs onnx

        model = lowered(model, key.name)
    pools = {name: (1, max(1, key.rows // 2), key.rows) for name in names if key.rows and name.startswith(_POOL)}
    return build_plan(runtime, model, PlanRequest(key.name, key.batches, key.precision, pools), timings)


def _spec(trt: Any, cuda_engine: Any, name: str) -> TensorSpec:
    dtype = np.dtype(trt.nptype(cuda_engine.get_tensor_dtype(name))).name
    return TensorSpec(name, dtype, tuple(None if axis < 0 else axis for axis in cuda_engine.get_tensor_shape(name)))
