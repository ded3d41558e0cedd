"""What an attacker or a broken disk might hand us: damaged copies of good bytes, and records with wrong contents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CASES = pytest.mark.parametrize("cases", [25, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])

_CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
_LONGEST = 1 << 16


def attack(target: Callable[[Any], object], inputs: st.SearchStrategy[Any], cases: int) -> None:
    """Call the target with that many inputs; what it must not do, it raises."""
    given(inputs)(
        settings(max_examples=cases, deadline=None, database=None, suppress_health_check=_CHECKS)(_named(target))
    )()


def _named(target: Callable[[Any], object]) -> Callable[[Any], None]:
    def hostile_input(value: Any) -> None:
        target(value)

    return hostile_input


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes], pieces: Sequence[bytes] = (b"",)) -> bytes:
    """A good input with up to eight edits: bits flipped, parts cut out or repeated, other pieces put in."""
    data = bytearray(draw(st.sampled_from(list(seeds))))
    piece = st.one_of(st.sampled_from(list(pieces)), st.binary(max_size=6))
    edit = st.tuples(st.sampled_from("fcrip"), st.integers(0, _LONGEST), st.integers(1, 40), piece)
    for kind, place, length, new in draw(st.lists(edit, max_size=8)):
        at = place % (len(data) + 1)
        if kind == "f" and at < len(data):
            data[at] ^= 1 << (length % 8)
        elif kind == "c":
            del data[at : at + length]
        elif kind == "r":
            data[at:at] = data[at : at + length] * (length % 4)
        elif kind == "i":
            data[at:at] = new
        elif kind == "p":
            data[at : at + len(new)] = new
    return bytes(data)


def bytes_like(seeds: Sequence[bytes], pieces: Sequence[bytes] = (b"",)) -> st.SearchStrategy[bytes]:
    """Damaged copies, and now and then anything at all."""
    return st.one_of(damaged(seeds, pieces), damaged(seeds, pieces), st.binary(max_size=200))


_NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.sampled_from([0, 1, -1, 2**31, 2**63]), st.floats(allow_nan=True)
)
_TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(["", "*", "../x", "\x00", "nan", "1e999", "camera0"]))
_LEAVES = st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS)


def values(names: Sequence[str] = ("x",)) -> st.SearchStrategy[Any]:
    """Anything that JSON, YAML or msgpack can say, with some of these names as keys."""
    keys = st.one_of(st.sampled_from(list(names)), st.text(max_size=5))
    return st.recursive(
        _LEAVES,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
        max_leaves=10,
    )


@st.composite
def altered(draw: st.DrawFn, good: Any) -> Any:
    """A good record with up to four of its parts, at any depth, replaced, removed or added to."""
    record = msgspec.json.decode(msgspec.json.encode(good))
    for _ in range(draw(st.integers(1, 4))):
        _alter(draw, record)
    return record


def _alter(draw: st.DrawFn, record: Any) -> None:
    spot = record
    while isinstance(spot, dict | list) and spot:
        key = draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot))))
        inner = spot[key]
        if isinstance(inner, dict | list) and inner and draw(st.booleans()):
            spot = inner
            continue
        what = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if what == "remove":
            del spot[key]
        elif what == "add" and isinstance(spot, dict):
            spot[draw(st.text(max_size=5))] = draw(values())
        else:
            spot[key] = draw(values())
        return
