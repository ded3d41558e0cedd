"""Every back end keeps the `Engine` contract: specs, named tensors, owned results, requests, clear refusals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.backends import installed_backends, open_engines
from engines.engine import Engine, EngineOptions
from engines.errors import BackendError


@pytest.fixture(params=installed_backends())
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_one(model: bytes, backend: str, **options: object) -> Engine:
    return open_engines(model, backend, [EngineOptions("tiny.onnx", **options)]).engines[0]  # type: ignore[arg-type]


@pytest.fixture
def encoder(backend: str, graphs: object) -> Iterator[Engine]:
    engine = open_one(graphs.encoder(), backend, requests=2)
    yield engine
    engine.close()
    engine.close()


def frames(seed: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, 6, 8, 3), np.uint8)


def test_specs_and_facts_are_known_before_the_first_run(encoder: Engine, backend: str) -> None:
    assert [str(spec) for spec in encoder.inputs] == ["frames uint8 [N, 6, 8, 3]"]
    assert [str(spec) for spec in encoder.outputs] == ["features float32 [N, 5]"]
    assert (encoder.backend, encoder.precision, encoder.device) == (backend, "f32", "CPU")
    assert encoder.version[0].isdigit()


def test_results_belong_to_the_caller(encoder: Engine) -> None:
    first = encoder.run({"frames": frames(1)})["features"]
    kept = first.copy()
    second = encoder.run({"frames": frames(2)})["features"]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # writable: nobody else's memory


def test_any_memory_may_be_fed_and_is_read_anew_each_time(encoder: Engine) -> None:
    wide = np.repeat(frames(3), 2, axis=2)
    sealed = frames(3)
    sealed.setflags(write=False)
    expected = encoder.run({"frames": frames(3)})["features"]
    for array in (wide[:, :, ::2], sealed, np.asfortranarray(frames(3))):
        np.testing.assert_array_equal(encoder.run({"frames": array})["features"], expected)
    same = frames(3)
    for seed in (4, 3):
        same[:] = frames(seed)
        other = encoder.run({"frames": same})["features"]
        assert np.array_equal(other, expected) == (seed == 3)


def test_requests_in_flight_do_not_mix(encoder: Engine) -> None:
    alone = [encoder.run({"frames": frames(seed)})["features"] for seed in (1, 2)]
    for _ in range(20):
        encoder.start(0, {"frames": frames(1)})
        encoder.start(1, {"frames": frames(2)})
        np.testing.assert_allclose(encoder.wait(1)["features"], alone[1], atol=1e-6)
        np.testing.assert_allclose(encoder.wait(0)["features"], alone[0], atol=1e-6)


def test_done_turns_true_and_any_batch_follows_any_other(encoder: Engine) -> None:
    for count in (3, 1, 5, 2):
        encoder.start(1, {"frames": frames(count, count)})
        while not encoder.done(1):
            pass
        assert encoder.wait(1)["features"].shape == (count, 5)


def test_a_fixed_batch_shows_in_the_specs_and_is_held(graphs: object) -> None:
    engine = open_one(graphs.encoder(), "openvino", batch=4)
    assert engine.inputs[0].shape == (4, 6, 8, 3)
    assert engine.run({"frames": frames(1, 4)})["features"].shape == (4, 5)
    with pytest.raises(BackendError, match=r"expected uint8 \[4, 6, 8, 3\]"):
        engine.run({"frames": frames(1, 3)})
    engine.close()


WRONG_FEEDS = {
    "missing": ({}, "needs the input frames uint8 [N, 6, 8, 3], which was not fed"),
    "misnamed": ({"frame": frames(1)}, "needs the input frames"),
    "one too many": ({"frames": frames(1), "mask": frames(1)}, "has no input mask: its inputs are frames"),
    "float pictures": ({"frames": frames(1).astype(np.float32)}, "fed frames as float32 [2, 6, 8, 3], expected uint8"),
    "another size": ({"frames": frames(1)[:, :5]}, "fed frames as uint8 [2, 5, 8, 3], expected uint8 [N, 6, 8, 3]"),
    "no batch": ({"frames": frames(1)[0]}, "fed frames as uint8 [6, 8, 3], expected uint8 [N, 6, 8, 3]"),
}


@pytest.mark.parametrize("case", WRONG_FEEDS)
def test_wrong_feeds_are_named(case: str, encoder: Engine) -> None:
    feeds, expected = WRONG_FEEDS[case]
    with pytest.raises(BackendError) as refused:
        encoder.run(feeds)
    assert expected in str(refused.value)
    assert encoder.run({"frames": frames(1)})["features"].shape == (2, 5)  # and goes on working


def not_onnx() -> bytes:
    return b"this is no protobuf at all"


def no_such_operator() -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Teleport", ["x"], ["y"], domain="nowhere")], "g", [x], [y])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("nowhere", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


@pytest.mark.parametrize("make", [not_onnx, no_such_operator])
def test_a_graph_that_cannot_be_loaded_is_one_sentence(make: object, backend: str) -> None:
    with pytest.raises(BackendError, match=r"cannot load tiny\.onnx: .") as refused:
        open_one(make(), backend)
    assert "\n" not in str(refused.value)


def test_a_back_end_that_gains_nothing_by_it_fixes_no_batch(graphs: object) -> None:
    options = [EngineOptions("tiny.onnx", batch=batch) for batch in (1, 4, None)]
    engines = open_engines(graphs.encoder(), "onnxruntime", options).engines
    assert engines[0] is engines[1] is engines[2]
    assert engines[0].run({"frames": frames(1, 3)})["features"].shape == (3, 5)
    engines[0].close()


def test_a_baked_in_batch_is_refused_for_another(graphs: object) -> None:
    with pytest.raises(BackendError, match="fixed batch 1"):
        open_one(graphs.encoder(batch=1), "openvino", batch=4)


def test_a_tensor_that_reaches_two_outputs_keeps_both_names(backend: str) -> None:
    x, y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("x", "y", "z"))
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Identity", ["x"], ["z"])]
    graph = helper.make_graph(nodes, "g", [x], [z, y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    engine = open_one(model.SerializeToString(), backend)
    given = np.array([[1, 2]], np.float32)
    answer = engine.run({"x": given})
    np.testing.assert_array_equal(answer["z"], given)
    np.testing.assert_array_equal(answer["y"], -given)
    engine.close()


def test_openvino_runs_in_what_it_was_asked_for_and_not_in_its_own_default(graphs: object) -> None:
    engine = open_one(graphs.encoder(), "openvino")
    assert engine.precision == "f32"
    with pytest.raises(BackendError, match="Wrong value f7"):
        open_one(graphs.encoder(), "openvino", precision="f7")
    engine.close()


def test_closing_waits_for_what_is_in_flight(backend: str, graphs: object) -> None:
    engine = open_one(graphs.encoder(), backend, requests=2)
    for request in (0, 1):
        engine.start(request, {"frames": frames(1)})
    engine.close()


def test_onnxruntime_refuses_a_precision_it_does_not_have(graphs: object) -> None:
    with pytest.raises(BackendError, match="f32 only"):
        open_one(graphs.encoder(), "onnxruntime", precision="bf16")
