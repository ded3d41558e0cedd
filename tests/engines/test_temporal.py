"""The stateful step: memory per row, resets, rows gone non-finite, and state maps that contradict the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from engines.backends import installed_backends
from engines.bundle import Bundle, load_bundle
from engines.errors import BackendError, ModelError
from engines.manifest import StateTensor
from engines.temporal import StepResult, Temporal

FEATURES = np.random.default_rng(5).normal(size=(4, 5)).astype(np.float32)


@pytest.fixture(params=[(name, most) for name in installed_backends() for most in (None, 4)], ids=str)
def temporal(request: pytest.FixtureRequest, tiny: Bundle) -> Iterator[Temporal]:
    backend, max_batch = request.param
    with Temporal.open(tiny, backend, capacity=4, max_batch=max_batch) as temporal:
        yield temporal


def lstm(features: np.ndarray, dt: float, state: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
    """The tiny step in float64 numpy: logits, h, c."""
    rng = np.random.default_rng(2)
    weight, bias, head = 1.5 * rng.normal(size=(10, 16)), rng.normal(size=16), 2 * rng.normal(size=(4, 3))
    h, c = state
    i, f, g, o = np.split(np.concatenate([features, [dt], h]) @ weight + bias, 4)
    gate = [1 / (1 + np.exp(-x)) for x in (i, f, o)]
    c = gate[1] * c + gate[0] * np.tanh(g)
    h = gate[2] * np.tanh(c)
    return h @ head, h, c


def step(temporal: Temporal, rows: list[int], *, keep: float = 1, features: np.ndarray = FEATURES) -> StepResult:
    count = len(rows)
    return temporal.step(rows, features[:count], np.full(count, 0.2), np.full(count, keep))


def test_steps_remember_and_equal_numpy(temporal: Temporal) -> None:
    row = temporal.pool.acquire("a")
    state = np.zeros(4), np.zeros(4)
    for features in FEATURES:
        result = temporal.step([row], features[None], [0.2], [1])
        logits, *state = lstm(features, 0.2, state)
        np.testing.assert_allclose(result.logits[0], logits, atol=1e-5)
        np.testing.assert_allclose(result.prob[0], np.exp(logits) / np.exp(logits).sum(), atol=1e-5)
    kept = temporal.pool.gather(np.array([row]))
    np.testing.assert_allclose(kept["h"][0], state[0], atol=1e-5)
    np.testing.assert_allclose(kept["c"][0], state[1], atol=1e-5)


def test_a_step_opened_for_some_rows_takes_no_more(tiny: Bundle) -> None:
    with Temporal.open(tiny, "openvino", capacity=4, max_batch=2) as temporal:
        rows = [temporal.pool.acquire(key) for key in "abc"]
        with pytest.raises(ValueError, match="a step of 3 rows was asked of one that was opened for 2"):
            step(temporal, rows)


def test_in_a_step_of_fixed_size_company_changes_not_one_bit(tiny: Bundle) -> None:
    with Temporal.open(tiny, "openvino", capacity=4, max_batch=4) as temporal:
        alone, first, *others = [temporal.pool.acquire(key) for key in "abcd"]
        for features in FEATURES:
            by_itself = temporal.step([alone], features[None], [0.2], [1])
            company = np.stack([*FEATURES[: len(others)], features])
            together = temporal.step([*others, first], company, [0.3, 0.1, 0.2], [1, 1, 1])
            assert by_itself.logits[0].tobytes() == together.logits[-1].tobytes()
            assert not np.array_equal(together.logits[0], together.logits[-1])


def test_only_the_rows_of_the_batch_move_and_in_their_order(temporal: Temporal) -> None:
    rows = [temporal.pool.acquire(key) for key in "abc"]
    still = temporal.pool.gather(np.array(rows[1:2]))
    crossed = temporal.step([rows[2], rows[0]], FEATURES[:2], [0.2, 0.2], [1, 1])
    straight = [lstm(features, 0.2, (np.zeros(4), np.zeros(4)))[0] for features in FEATURES[:2]]
    np.testing.assert_allclose(crossed.logits, straight, atol=1e-5)
    for name, tensor in temporal.pool.gather(np.array(rows[1:2])).items():
        np.testing.assert_array_equal(tensor, still[name])


def test_keep_zero_starts_afresh_even_from_nan(temporal: Temporal) -> None:
    rows = [temporal.pool.acquire(key) for key in "ab"]
    fresh = step(temporal, rows, keep=0)
    nan = np.full((2, 4), np.nan, np.float32)
    temporal.pool.scatter(np.array(rows), {"h_next": nan, "c_next": nan})
    again = step(temporal, rows, keep=0)
    np.testing.assert_array_equal(again.prob, fresh.prob)
    assert again.ok.all()


def test_a_row_gone_non_finite_is_reported_zeroed_and_alone(temporal: Temporal) -> None:
    rows = [temporal.pool.acquire(key) for key in "abc"]
    features = FEATURES.copy()
    features[1, 2] = np.inf
    alone = [lstm(FEATURES[k], 0.2, (np.zeros(4), np.zeros(4)))[0] for k in (0, 2)]
    result = step(temporal, rows, features=features * np.array([1, np.nan, 1, 1], np.float32)[:, None])
    assert result.ok.tolist() == [True, False, True]
    np.testing.assert_allclose(result.logits[[0, 2]], alone, atol=1e-5)
    state = temporal.pool.gather(np.array(rows))
    assert not state["h"][1].any()
    assert not state["c"][1].any()
    assert np.isfinite(state["h"]).all()


def test_a_graph_that_reports_but_does_not_clear_is_cleared_here(
    graphs: object, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "tiny", temporal=graphs.temporal(guard=False)))
    with Temporal.open(bundle, "onnxruntime", capacity=1) as temporal:
        row = temporal.pool.acquire("a")
        assert not step(temporal, [row], features=np.full((1, 5), np.nan, np.float32)).ok[0]
        assert not temporal.pool.gather(np.array([row]))["c"].any()


def test_a_refused_step_changes_no_row(temporal: Temporal) -> None:
    rows = [temporal.pool.acquire(key) for key in "ab"]
    step(temporal, rows)
    before = temporal.pool.gather(np.array(rows))
    with pytest.raises(ValueError, match=f"row {rows[0]} is in the batch twice"):
        temporal.step([rows[0], rows[0]], FEATURES[:2], [0.2, 0.2], [1, 1])
    with pytest.raises(BackendError, match=r"fed features as float32 \[2, 4\]"):
        temporal.step(rows, FEATURES[:2, :4], [0.2, 0.2], [1, 1])
    with pytest.raises(BackendError, match="tiny"):
        temporal.step(rows, FEATURES[:3], [0.2, 0.2], [1, 1])
    for name, tensor in temporal.pool.gather(np.array(rows)).items():
        np.testing.assert_array_equal(tensor, before[name])


def test_an_empty_batch_is_no_work(temporal: Temporal) -> None:
    result = temporal.step([], FEATURES[:0], [], [])
    assert result.prob.shape == (0, 3)
    assert result.ok.shape == (0,)


H, C = StateTensor("h", "h_next", (4,)), StateTensor("c", "c_next", (4,))
CONTRADICTIONS: dict[str, tuple[dict[str, object], str]] = {
    "one label more": (
        {"labels": ("a", "b", "c", "d")},
        "output prob float32 [N, 3], manifest.yaml says prob float32 [N, 4]",
    ),
    "features": ({"features": (6,)}, "input features float32 [N, 5], manifest.yaml says features float32 [N, 6]"),
    "a state forgotten": ({"state": (H,)}, "wants the input c float32 [N, 4], which manifest.yaml does not know"),
    "a state invented": (
        {"state": (H, C, StateTensor("k", "h_next", (4,)))},
        "maps 2 states onto the one output 'h_next'",
    ),
    "an input twice": ({"state": (H, StateTensor("h", "c_next", (4,)))}, "maps 2 states onto the one input 'h'"),
    "no such input": ({"state": (H, StateTensor("k", "c_next", (4,)))}, "has no input k float32 [N, 4]"),
    "no such output": ({"state": (H, StateTensor("c", "c_out", (4,)))}, "has no output c_out float32 [N, 4]"),
    "another shape": (
        {"state": (H, StateTensor("c", "c_next", (2, 2)))},
        "c float32 [N, 4], manifest.yaml says c float32 [N, 2, 2]",
    ),
    "an answer as state": ({"state": (H, StateTensor("c", "logits", (3,)))}, "calls 'logits' a state"),
    "a feed as state": ({"state": (H, C, StateTensor("dt", "x", ()))}, "calls 'dt' a state"),
}


@pytest.mark.parametrize("backend", installed_backends())
@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_manifest_that_contradicts_the_step_is_refused(
    case: str, backend: str, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    changes, message = CONTRADICTIONS[case]
    bundle = load_bundle(write_bundle(tmp_path / "tiny", **changes))
    with pytest.raises(ModelError) as refused:
        Temporal.open(bundle, backend, capacity=1)
    assert message in str(refused.value)
    assert "bundle tiny" in str(refused.value)


@pytest.mark.parametrize("backend", installed_backends())
def test_state_in_another_type_is_refused(
    backend: str, graphs: object, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    half = graphs.temporal(state_dtype=TensorProto.FLOAT16)
    bundle = load_bundle(write_bundle(tmp_path / "tiny", temporal=half))
    with pytest.raises(ModelError, match=r"input h float16 \[N, 4\], manifest.yaml says h float32"):
        Temporal.open(bundle, backend, capacity=1)
