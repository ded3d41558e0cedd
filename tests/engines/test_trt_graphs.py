"""The graphs made for TensorRT compute what the exported ones do: in half precision, and with the state inside."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from engines.arena import ROWS, pool_input, pool_output, with_arena
from engines.bundle import Bundle, list_bundles, load_bundle
from engines.errors import BackendError, ModelError
from engines.halves import float_types, halved
from engines.opset17 import lowered


def session(model: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"])


def named(model: ort.InferenceSession, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip([each.name for each in model.get_outputs()], model.run(None, feeds), strict=True))


@pytest.fixture(params=["tiny", *list_bundles()])
def bundle(request: pytest.FixtureRequest, tiny: Bundle) -> Bundle:
    return tiny if request.param == "tiny" else load_bundle(request.param)


def pairs(bundle: Bundle) -> list[tuple[str, str]]:
    return [(state.input, state.output) for state in bundle.manifest.state]


def features(bundle: Bundle, rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.normal(size=(count, *bundle.manifest.step_features)).astype(np.float32)


def test_half_precision_moves_the_encoder_a_little_and_not_nothing(bundle: Bundle) -> None:
    model, given = bundle.read("encoder.onnx"), bundle.manifest.input
    frames = np.random.default_rng(1).integers(0, 256, (3, given.height, given.width, 3), np.uint8)
    exact, half = (session(each).run(None, {"frames": frames})[0] for each in (model, halved(model)))
    assert half.dtype == np.float32
    # half precision is relative: the bound is for features of up to 1, and grows with larger ones
    assert 0 < np.abs(exact - half).max() < 1e-2 * max(1.0, float(np.abs(exact).max()))
    assert "FLOAT16" in float_types(halved(model))


def test_a_halved_step_keeps_its_state_and_its_ends_in_float32(bundle: Bundle) -> None:
    graph = onnx.load_from_string(halved(bundle.read("temporal.onnx"), products_only=True)).graph
    assert {each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)} == {TensorProto.FLOAT}
    halves = [node for node in graph.node if any(name.endswith(".half") for name in node.input)]
    assert {node.op_type for node in halves} <= {"Gemm", "MatMul", "Conv"}
    assert halves


def test_a_halved_step_stays_close_over_many_steps(bundle: Bundle) -> None:
    exact, half = (
        session(each)
        for each in (bundle.read("temporal.onnx"), halved(bundle.read("temporal.onnx"), products_only=True))
    )
    rng = np.random.default_rng(3)
    states = [{s.input: np.zeros((2, *s.shape), np.float32) for s in bundle.manifest.state} for _ in range(2)]
    worst = 0.0
    for _ in range(100):
        given = {
            "features": features(bundle, rng, 2),
            "dt": np.full(2, 0.125, np.float32),
            "keep": np.ones(2, np.float32),
        }
        results = [named(each, {**given, **state}) for each, state in zip((exact, half), states, strict=True)]
        states = [{name: result[following] for name, following in pairs(bundle)} for result in results]
        worst = max(worst, float(np.abs(results[0]["prob"] - results[1]["prob"]).max()))
    assert worst < 2e-2


def test_pools_inside_the_graph_step_like_rows_outside(bundle: Bundle) -> None:
    """Random batches of cameras, resets and a poisoned frame; the rest of the pool must not move."""
    step, pooled = (
        session(each)
        for each in (bundle.read("temporal.onnx"), with_arena(bundle.read("temporal.onnx"), pairs(bundle)))
    )
    rng = np.random.default_rng(5)
    cameras, spare = 5, 5
    pools = {s.input: rng.normal(size=(cameras + 1, *s.shape)).astype(np.float32) for s in bundle.manifest.state}
    state = {name: pool.copy() for name, pool in pools.items()}
    for turn in range(30):
        rows = rng.permutation(cameras)[: rng.integers(1, cameras)].astype(np.int32)
        padded = np.append(rows, [spare, spare]).astype(np.int32)
        given = {
            "features": features(bundle, rng, len(padded)),
            "dt": rng.uniform(0.1, 0.3, len(padded)).astype(np.float32),
        }
        given["keep"] = (rng.random(len(padded)) > 0.2).astype(np.float32)
        if turn == 10:
            given["features"][0] = np.nan
        expected = named(
            step, {**{k: v[: len(rows)] for k, v in given.items()}, **{n: s[rows] for n, s in state.items()}}
        )
        found = named(pooled, {**given, ROWS: padded, **{pool_input(name): pool for name, pool in pools.items()}})
        for name, following in pairs(bundle):
            state[name][rows] = np.where(np.isfinite(expected[following]), expected[following], 0)
            np.testing.assert_allclose(found[pool_output(name)][:cameras], state[name][:cameras], rtol=1e-5, atol=1e-5)
            pools[name] = found[pool_output(name)]
        np.testing.assert_allclose(found["prob"][: len(rows)], expected["prob"], atol=1e-5)
        assert found["ok"][: len(rows)].tolist() == expected["ok"].tolist()
        assert (expected["ok"][0] == 0) == (turn == 10)


def test_a_row_that_went_wrong_is_zeroed_even_if_the_step_does_not(graphs: object) -> None:
    model = graphs.temporal(guard=False)
    pools = {pool_input(name): np.ones((2, 4), np.float32) for name in ("h", "c")}
    given = {
        "features": np.full((1, 5), np.nan, np.float32),
        "dt": np.ones(1, np.float32),
        "keep": np.ones(1, np.float32),
    }
    found = named(
        session(with_arena(model, [("h", "h_next"), ("c", "c_next")])), {**given, ROWS: np.zeros(1, np.int32), **pools}
    )
    assert found["ok"].tolist() == [0]
    np.testing.assert_array_equal(found["next_pool_h"], [[0] * 4, [1] * 4])


def test_a_graph_in_opset_17_computes_the_same(bundle: Bundle) -> None:
    rng = np.random.default_rng(1)
    for file in ("encoder.onnx", "temporal.onnx"):
        model = bundle.read(file)
        old = lowered(model, file)
        assert onnx.load_from_string(old).opset_import[0].version == 17
        assert lowered(old, file) == old
        given = {each.name: _random(rng, each) for each in onnx.load_from_string(model).graph.input}
        for found, wanted in zip(session(old).run(None, given), session(model).run(None, given), strict=True):
            np.testing.assert_array_equal(found, wanted)


def _random(rng: np.random.Generator, value: onnx.ValueInfoProto) -> np.ndarray:
    kind = value.type.tensor_type
    shape = [each.dim_value or 3 for each in kind.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return rng.integers(0, 256, shape, np.uint8) if dtype == np.uint8 else rng.random(shape, np.float32)


def test_what_opset_17_cannot_say_is_refused() -> None:
    x, y = (onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Gelu", ["x"], ["y"])], "g", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    with pytest.raises(BackendError, match=r"g\.onnx cannot be put into opset 17, as TensorRT 8 needs it: .*Gelu"):
        lowered(model.SerializeToString(), "g.onnx")


def test_a_state_map_that_does_not_fit_is_named(graphs: object) -> None:
    with pytest.raises(ModelError, match=r"the step has no state h -> h_new: its inputs are features, dt, keep, h, c"):
        with_arena(graphs.temporal(), [("h", "h_new")])
