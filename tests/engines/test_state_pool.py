"""The state pool: whose row is whose, zero when handed out, and snapshots that only fit their own model."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
import pytest

from engines.errors import ModelError
from engines.manifest import Manifest
from engines.snapshot import SavedTensor, Snapshot, decode_snapshot, encode_snapshot
from engines.state_pool import StatePool

SHA = "a" * 64


@pytest.fixture
def pool(manifest: Manifest) -> StatePool:
    return StatePool(manifest, SHA, capacity=3)


def fill(pool: StatePool, row: int, value: float) -> None:
    full = np.full((1, 4), value, np.float32)
    pool.scatter(np.array([row]), {"h_next": full, "c_next": -full})


def test_scatter_pairs_outputs_with_inputs_by_the_manifest(pool: StatePool) -> None:
    rows = np.array([pool.acquire("a"), pool.acquire("b")])
    pool.scatter(rows[::-1], {"c_next": np.array([[2.0] * 4, [1.0] * 4]), "h_next": np.array([[4.0] * 4, [3.0] * 4])})
    state = pool.gather(rows)
    assert state["h"][:, 0].tolist() == [3, 4]
    assert state["c"][:, 0].tolist() == [1, 2]
    assert state["h"].dtype == np.float32
    state["h"][:] = 9  # a copy: the pool is not touched
    assert pool.gather(rows)["h"][:, 0].tolist() == [3, 4]


def test_a_row_is_zero_when_handed_out_again_and_others_keep_theirs(pool: StatePool) -> None:
    first, second = pool.acquire("a"), pool.acquire("b")
    fill(pool, first, np.nan)
    fill(pool, second, 5)
    pool.release(first)
    again = pool.acquire("c")
    assert again == first
    state = pool.gather(np.array([again, second]))
    assert not state["h"][0].any()
    assert not state["c"][0].any()
    assert state["h"][1].tolist() == [5] * 4
    assert pool.rows == {"b": second, "c": again}


def test_capacity_and_size_are_told(pool: StatePool) -> None:
    assert pool.bytes_per_row == 2 * 4 * 4
    rows = {pool.acquire(key) for key in "abc"}
    assert rows == {0, 1, 2}
    with pytest.raises(ModelError, match="state pool of tiny has 3 rows, all in use: open it with a larger capacity"):
        pool.acquire("d")
    pool.release(1)
    assert pool.acquire("d") == 1


GIVEN_BACK = "row 1 of the state pool is not in use"
MISUSE = {
    "a key twice": (lambda pool: pool.acquire("a"), "'a' holds row 0"),
    "a row never handed out": (lambda pool: pool.release(2), "row 2 of the state pool is not in use"),
    "a row given back": (
        lambda pool: [pool.release(1), pool.check(np.array([1]))],
        "row 1 of the state pool is not in use",
    ),
    "a row given back twice": (
        lambda pool: [pool.release(1), pool.release(1)],
        "row 1 of the state pool is not in use",
    ),
    "a row beyond the end": (lambda pool: pool.check(np.array([3])), "row 3 of the state pool is not in use"),
    "a negative row": (lambda pool: pool.check(np.array([-1])), "row -1 of the state pool is not in use"),
    "a row twice in a batch": (lambda pool: pool.check(np.array([0, 1, 0])), "row 0 is in the batch twice"),
    "a snapshot of nobody": (lambda pool: pool.snapshot(2, age_steps=0, age_s=0.0), "row 2 of the state pool is not"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_refused(case: str, pool: StatePool) -> None:
    pool.acquire("a")
    pool.acquire("b")
    misuse, message = MISUSE[case]
    with pytest.raises(ValueError, match=message):
        misuse(pool)
    pool.check(np.array([0]))


def test_a_snapshot_survives_the_trip_through_bytes(pool: StatePool) -> None:
    first, second = pool.acquire("a"), pool.acquire("b")
    fill(pool, first, 0.1)
    snapshot = pool.snapshot(first, age_steps=7, age_s=1.4)
    fill(pool, first, 9)  # a copy: later steps do not change it
    restored = decode_snapshot(encode_snapshot(snapshot))
    assert restored == snapshot
    assert (restored.model_sha, restored.age_steps, restored.age_s) == (SHA, 7, 1.4)
    pool.restore(second, restored)
    state = pool.gather(np.array([second]))
    np.testing.assert_array_equal(state["h"], np.full((1, 4), 0.1, np.float32))
    np.testing.assert_array_equal(state["c"], np.full((1, 4), -0.1, np.float32))


def tensor(snapshot: Snapshot, name: str, value: SavedTensor) -> Snapshot:
    return msgspec.structs.replace(snapshot, tensors={**snapshot.tensors, name: value})


UNFIT = {
    "another model": (lambda s: msgspec.structs.replace(s, model_sha="b" * 64), "belongs to the model bbbbbbbbbbbb…"),
    "a tensor missing": (
        lambda s: msgspec.structs.replace(s, tensors={"h": s.tensors["h"]}),
        "has the tensors h, tiny",
    ),
    "a tensor too many": (lambda s: tensor(s, "x", s.tensors["h"]), "has the tensors h, c, x, tiny has h, c"),
    "another shape": (lambda s: tensor(s, "c", SavedTensor((2, 2), bytes(16))), "has c as [2, 2] in 16 bytes"),
    "cut data": (lambda s: tensor(s, "c", SavedTensor((4,), bytes(15))), "has c as [4] in 15 bytes"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_unfit_snapshot_is_refused_and_changes_nothing(case: str, pool: StatePool) -> None:
    row = pool.acquire("a")
    fill(pool, row, 3)
    change, message = UNFIT[case]
    snapshot = change(pool.snapshot(row, age_steps=1, age_s=0.1))
    fill(pool, row, 4)
    with pytest.raises(ModelError) as refused:
        pool.restore(row, snapshot)
    assert message in str(refused.value)
    assert pool.gather(np.array([row]))["h"].tolist() == [[4] * 4]


def test_damaged_bytes_are_no_snapshot(pool: StatePool) -> None:
    data = encode_snapshot(pool.snapshot(pool.acquire("a"), age_steps=1, age_s=0.1))
    flipped = bytes([*data[:20], data[20] ^ 1, *data[21:]])
    for bad in (b"", data[:3], data[:-1], flipped, data + b"\0"):
        with pytest.raises(ModelError, match="damaged"):
            decode_snapshot(bad)


def test_a_snapshot_of_another_format_is_refused() -> None:
    body = msgspec.msgpack.encode({"model_sha": 1})
    with pytest.raises(ModelError, match="another format"):
        decode_snapshot(zlib.crc32(body).to_bytes(4, "big") + body)
