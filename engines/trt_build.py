"""The plan builder: an ONNX graph becomes a TensorRT plan, by one code path for TensorRT 8.6, 10, 11 and RTX.

Strongly typed: the tensor types in the ONNX file decide the arithmetic (8.6, which has no such mode, is told by a flag
that float16 is allowed). TensorFloat-32 is off, since float32 here means float32. TensorRT's builder reports failures
by return values, not by exceptions; each becomes one sentence here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engines.errors import BackendError
from engines.trt_load import TensorRt
from engines.trt_log import new_logger

_WORKSPACE_BYTES = 1 << 30


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is for.

    `batches` are the lengths of the first axis that get a profile each, in which nothing varies. `ranges` gives some
    inputs another first axis than the batch: `(least, usual, most)`.
    """

    name: str  # what errors call the graph
    batches: tuple[int, ...]
    precision: str = "f32"
    ranges: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """A serialised plan, and the timing cache with what this build has learnt."""

    plan: bytes
    timings: bytes


def build_plan(runtime: TensorRt, model: bytes, request: PlanRequest, timings: bytes = b"") -> Built:
    """Build the plan of one ONNX graph.

    Args:
        runtime: the TensorRT to build with.
        model: a self-contained ONNX file whose tensor types are those wanted.
        request: batches and name.
        timings: the timing cache of an earlier build with this TensorRT on this GPU; empty: start a new one.

    Raises:
        BackendError: there is no GPU (only RTX builds without), or TensorRT refuses the graph, a profile or the build.
    """
    trt = runtime.module
    log = new_logger(trt)
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # "factory function returned nullptr"
        raise BackendError(f"{runtime.title} cannot build {request.name}: its builder needs an NVIDIA GPU") from error
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model) or not network.num_outputs:
        raise BackendError(f"{runtime.title} cannot load {request.name}: {_parser_errors(parser)}")
    config = _config(trt, builder, request)
    # TensorRT-RTX does not time kernels; the cache must live until the build is over
    cache = None if runtime.portable else _timing_cache(config, timings)
    _add_profiles(builder, config, network, request)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reason = log.first_error("no reason given")
        raise BackendError(f"{runtime.title} cannot build {request.name}: {reason}")
    return Built(bytes(plan), b"" if cache is None else bytes(config.get_timing_cache().serialize()))


def _network_flags(trt: Any) -> int:
    kinds, flags = trt.NetworkDefinitionCreationFlag, 0
    if hasattr(kinds, "EXPLICIT_BATCH"):  # 8.6 needs it, 10 ignores it, 11 has it no more
        flags |= 1 << int(kinds.EXPLICIT_BATCH)
    if hasattr(kinds, "STRONGLY_TYPED"):  # from 10; 11 is always so
        flags |= 1 << int(kinds.STRONGLY_TYPED)
    return flags


def _config(trt: Any, builder: Any, request: PlanRequest) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
    config.clear_flag(trt.BuilderFlag.TF32)
    if request.precision == "f16" and not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        config.set_flag(trt.BuilderFlag.FP16)
    if hasattr(trt.PreviewFeature, "PROFILE_SHARING_0806"):  # 8.6; always so from 10: contexts may share a profile
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, enable=True)
    return config


def _timing_cache(config: Any, timings: bytes) -> Any:
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):  # of another TensorRT, or damaged
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _add_profiles(builder: Any, config: Any, network: Any, request: PlanRequest) -> None:
    """One profile per batch."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    for batch in request.batches:
        profile = builder.create_optimization_profile()
        for tensor in inputs:
            lengths = request.ranges.get(tensor.name, (batch, batch, batch))
            profile.set_shape(tensor.name, *(_shape(tensor, length, request.name) for length in lengths))
        if config.add_optimization_profile(profile) < 0:
            raise BackendError(f"TensorRT refuses the batch {batch} for {request.name}: export it with any batch")


def _shape(tensor: Any, length: int, name: str) -> tuple[int, ...]:
    first, *rest = tuple(tensor.shape)
    if any(axis < 0 for axis in rest):
        shape = [first, *rest]
        raise BackendError(f"{name} has the input {tensor.name} {shape}: only its first axis may vary, export it so")
    if first not in (-1, length):
        raise BackendError(f"{name} has the fixed batch {first}: export it with any batch")
    return (length, *rest)


def _parser_errors(parser: Any) -> str:
    lines = [" ".join(str(parser.get_error(i)).split()) for i in range(parser.num_errors)]
    return "; ".join(lines) or "this is no ONNX file"


def batch_buckets(most: int) -> tuple[int, ...]:
    """Powers of two up to `most`, and `most`: `(1, 2, 4, 6)` for 6. A batch in between is padded to the next."""
    return (*(2**power for power in range(most.bit_length()) if 2**power < most), most)


def bucket_for(batches: Sequence[int], count: int) -> int:
    """The smallest of `batches` that holds `count` rows."""
    return min(batch for batch in batches if batch >= count)
