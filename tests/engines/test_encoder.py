"""The encoder: batches, requests in flight, and graphs that contradict their manifest."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from engines.backends import installed_backends
from engines.bundle import Bundle, load_bundle
from engines.encoder import Encoder, compiled_batches
from engines.errors import ModelError
from engines.manifest import FrameInput

PICTURES = np.random.default_rng(3).integers(0, 256, (11, 6, 8, 3), np.uint8)


def expected(pictures: np.ndarray) -> np.ndarray:
    """The tiny encoder in three lines of numpy."""
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(3, 5)), rng.normal(size=5)
    return np.tanh(pictures.astype(np.float64).mean((1, 2)) / 64 @ weight + bias)


@pytest.fixture(params=installed_backends())
def encoder(request: pytest.FixtureRequest, tiny: Bundle) -> Iterator[Encoder]:
    with Encoder.open(tiny, request.param, max_batch=6) as encoder:
        yield encoder


def test_every_batch_has_a_compile() -> None:
    assert [compiled_batches(n) for n in (1, 2, 3)] == [(1,), (1, 2), (1, 2, 3)]
    assert compiled_batches(4) == (1, 2, 4)
    assert compiled_batches(6) == (1, 2, 4, 6)
    assert compiled_batches(8) == (1, 2, 4, 8)


def test_every_count_gives_the_features_of_exactly_its_pictures(encoder: Encoder) -> None:
    assert encoder.frames(0).shape == (6, 6, 8, 3)
    for count in range(1, 7):
        encoder.frames(0)[:count] = PICTURES[:count]
        encoder.start(0, count)
        features = encoder.wait(0)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, expected(PICTURES[:count]), atol=1e-5)


@pytest.mark.parametrize(
    ("backend", "fitting"), [("openvino", [1, 2, 2, 4, 4, 6]), ("onnxruntime", [1, 2, 3, 4, 5, 6])]
)
def test_fit_is_the_largest_batch_that_needs_no_filling_up(backend: str, fitting: list[int], tiny: Bundle) -> None:
    with Encoder.open(tiny, backend, max_batch=6) as encoder:
        assert [encoder.fit(count) for count in range(1, 7)] == fitting
        assert encoder.fit(50) == 6


@pytest.mark.parametrize(("count", "compiled"), [(1, 1), (2, 2), (3, 4), (5, 6)])
def test_pictures_run_in_the_smallest_compile_that_holds_them(count: int, compiled: int, tiny: Bundle) -> None:
    with Encoder.open(tiny, "openvino", max_batch=6) as encoder:
        encoder.start(0, count)
        running = encoder._running[0]
        encoder.wait(0)
    assert running is not None
    assert running[0].inputs[0].shape[0] == compiled


def test_who_listens_is_told_which_request_has_ended(encoder: Encoder) -> None:
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    assert encoder.listen(told.put)
    for request in (1, 0, 1):
        encoder.frames(request)[:3] = PICTURES[:3]
        encoder.start(request, 3)
        assert told.get(timeout=30) == request
        np.testing.assert_allclose(encoder.wait(request), expected(PICTURES[:3]), atol=1e-5)
    assert told.empty()


def test_two_requests_in_flight_keep_their_pictures_apart(encoder: Encoder) -> None:
    for request, part in ((0, PICTURES[:5]), (1, PICTURES[5:9])):
        encoder.frames(request)[: len(part)] = part
        encoder.start(request, len(part))
    later = encoder.wait(1)
    first = encoder.wait(0)
    encoder.frames(0)[:1] = PICTURES[9:10]
    encoder.start(0, 1)
    np.testing.assert_allclose(encoder.wait(0), expected(PICTURES[9:10]), atol=1e-5)
    np.testing.assert_allclose(first, expected(PICTURES[:5]), atol=1e-5)  # still the caller's own
    np.testing.assert_allclose(later, expected(PICTURES[5:9]), atol=1e-5)


def test_the_protocol_of_a_request_is_held(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="request 0 was not started"):
        encoder.wait(0)
    with pytest.raises(ValueError, match="request 1 was not started"):
        encoder.done(1)
    for count in (0, 7):
        with pytest.raises(ValueError, match=f"started with {count} pictures, allowed are 1 to 6"):
            encoder.start(0, count)
    encoder.start(0, 1)
    with pytest.raises(ValueError, match="request 0 is running"):
        encoder.start(0, 1)
    while not encoder.done(0):
        pass
    encoder.wait(0)


CONTRADICTIONS: dict[str, tuple[dict[str, object], str]] = {
    "height": (
        {"input": FrameInput(7, 8, 8.0)},
        "encoder.onnx has the input frames uint8 [N, 6, 8, 3], manifest.yaml says frames uint8 [N, 7, 8, 3]",
    ),
    "width": ({"input": FrameInput(6, 9, 8.0)}, "manifest.yaml says frames uint8 [N, 6, 9, 3]"),
    "feature count": (
        {"features": (6,)},
        "the output features float32 [N, 5], manifest.yaml says features float32 [N, 6]",
    ),
    "feature axes": ({"features": (5, 1, 1)}, "manifest.yaml says features float32 [N, 5, 1, 1]"),
}


@pytest.mark.parametrize("backend", installed_backends())
@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_manifest_that_contradicts_the_encoder_is_refused(
    case: str, backend: str, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    changes, message = CONTRADICTIONS[case]
    bundle = load_bundle(write_bundle(tmp_path / "tiny", **changes))
    with pytest.raises(ModelError) as refused:
        Encoder.open(bundle, backend, max_batch=1)
    assert message in str(refused.value)
    assert "bundle tiny" in str(refused.value)


WRONG_GRAPHS = {
    "float pictures": ({"dtype": TensorProto.FLOAT}, ModelError, "frames float32"),
    "a misnamed output": ({"output": "embedding"}, ModelError, "no output features float32 [N, 5]"),
    "a baked-in batch": ({"batch": 3}, ModelError, "fixed batch 3"),
}


@pytest.mark.parametrize("backend", installed_backends())
@pytest.mark.parametrize("case", WRONG_GRAPHS)
def test_a_graph_that_breaks_the_contract_is_refused(
    case: str, backend: str, graphs: object, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    arguments, error, message = WRONG_GRAPHS[case]
    bundle = load_bundle(write_bundle(tmp_path / "tiny", encoder=graphs.encoder(**arguments)))
    with pytest.raises(error) as refused:
        Encoder.open(bundle, backend, max_batch=2)
    assert message in str(refused.value)


def test_auto_says_what_it_picked_and_why(tiny: Bundle) -> None:
    with Encoder.open(tiny, max_batch=1) as encoder:
        assert encoder.backend == "openvino"
        assert encoder.precision == "f32"
        assert "picked by auto" in encoder.why
