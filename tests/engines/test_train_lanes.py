"""Lanes: every step in order, cuts survived or reset, frames lost in bursts with their time told, weights by age."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest

from engines.training.drops import kept_steps
from engines.training.lanes import WARM_UP_WEIGHT, Chunk, Walk, chunks_of
from engines.training.learning import Learning
from engines.training.sequences import UNLABELLED, FeatureSequence

PLAIN = Learning(lanes=2, steps=8, reset=0.0, join=0.0, offset=0.0, drop=0.0, warm_up_steps=0)
RATE_HZ = 4.0


def sequence(number: int, length: int, label: int | None = None) -> FeatureSequence:
    """Its features tell the sequence's number and the step's."""
    features = np.stack([np.full(length, number), np.arange(length)], 1).astype(np.float32)
    times = np.arange(length) / RATE_HZ
    labels = np.full(length, number % 2 if label is None else label)
    return FeatureSequence(f"s{number}", f"g{number}", features, times, labels)


def walk(lengths: list[int], seed: int = 0, views: int = 1, **changes: object) -> Walk:
    settings = msgspec.structs.replace(PLAIN, **changes)
    made = [[sequence(number, length) for number, length in enumerate(lengths)] for _ in range(views)]
    return Walk(made, settings, RATE_HZ, np.random.default_rng(seed))


def chunks(some: Walk, count: int) -> list[Chunk]:
    return [some.next() for _ in range(count)]


def test_a_long_sequence_goes_on_from_chunk_to_chunk() -> None:
    found = chunks(walk([40], lanes=1), 5)
    assert [bool(chunk.fresh[0]) for chunk in found] == [True, False, False, False, False]
    assert np.concatenate([chunk.features[0, :, 1] for chunk in found]).tolist() == list(range(40))
    assert all((chunk.dt == 1 / RATE_HZ).all() and (chunk.weight == 1).all() for chunk in found)


def test_without_joining_the_rest_of_a_chunk_is_padding_and_the_next_starts_afresh() -> None:
    for chunk in chunks(walk([5, 5, 5]), 6):
        assert chunk.fresh.all()
        assert (chunk.weight[:, :5] == 1).all()
        assert (chunk.weight[:, 5:] == 0).all()


def test_with_joining_a_lane_is_one_stream_with_cuts() -> None:
    found = chunks(walk([5, 7, 3], join=1.0, lanes=1), 10)
    assert [bool(chunk.fresh[0]) for chunk in found] == [True] + [False] * 9
    assert all((chunk.weight == 1).all() for chunk in found)
    seen = np.concatenate([chunk.features[0] for chunk in found])
    starts = np.flatnonzero(seen[:, 1] == 0)
    lengths = [5, 7, 3]
    for start, end in pairwise(starts):
        assert seen[start:end, 1].tolist() == list(range(lengths[int(seen[start, 0])]))


def test_the_first_steps_after_a_start_or_a_cut_count_less() -> None:
    some = walk([6, 6], join=1.0, warm_up_steps=2, steps=12, lanes=1)
    expected = [WARM_UP_WEIGHT, WARM_UP_WEIGHT, 1, 1, 1, 1] * 2
    assert some.next().weight[0].tolist() == expected
    assert some.next().weight[0].tolist() == expected


def test_what_has_no_label_has_no_weight() -> None:
    one = sequence(0, 8)
    one.labels[2:5] = UNLABELLED
    chunk = Walk([[one]], PLAIN, RATE_HZ, np.random.default_rng(0)).next()
    assert chunk.weight[0].tolist() == [1, 1, 0, 0, 0, 1, 1, 1]
    assert chunk.labels.min() == 0


def test_last_only_counts_one_step_of_each_sequence() -> None:
    chunk = walk([4, 4], join=1.0, lanes=1, last_only=True).next()
    assert chunk.weight[0].tolist() == [0, 0, 0, 1, 0, 0, 0, 1]


def test_resets_come_as_often_as_asked() -> None:
    found = chunks(walk([100_000], lanes=4, reset=0.25, steps=4), 500)
    share = np.mean([chunk.fresh for chunk in found[1:]])
    assert 0.2 < share < 0.3


def test_lanes_start_anywhere_unless_told_not_to() -> None:
    firsts = walk([1000] * 50, lanes=50, offset=0.2).next().features[:, 0, 1]
    assert len(set(firsts.tolist())) > 30
    assert firsts.max() > 500
    assert (walk([1000] * 50, lanes=50).next().features[:, 0, 1] == 0).all()


def test_lost_frames_tell_in_dt() -> None:
    found = chunks(walk([400] * 3, lanes=3, drop=1.0, drop_rate=(0.5, 0.5), steps=20), 8)
    steps = np.concatenate([chunk.features[..., 1] for chunk in found], 1)
    dt = np.concatenate([chunk.dt for chunk in found], 1)
    inside = np.diff(steps, axis=1) > 0
    np.testing.assert_allclose(dt[:, 1:][inside], np.diff(steps, axis=1)[inside] / RATE_HZ, rtol=1e-5)
    assert np.diff(steps, axis=1)[inside].max() > 3


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.8])
def test_losses_come_in_bursts_at_the_rate_asked_for(rate: float) -> None:
    rng = np.random.default_rng(3)
    shares, bursts = [], []
    for _ in range(40):
        gaps = np.diff(kept_steps(5000, rate, rng))
        shares.append(1 - len(gaps) / 5000)
        bursts.append(gaps[gaps > 1].mean() - 1)
    assert abs(np.mean(shares) - rate) < 0.03
    assert 2.0 < np.mean(bursts) < 4.5


def test_never_are_all_steps_lost() -> None:
    rng = np.random.default_rng(0)
    assert all(len(kept_steps(2, 0.9, rng)) for _ in range(200))


def test_by_label_draws_rare_labels_as_often_as_others() -> None:
    rare = [sequence(0, 8, label=1)] + [sequence(n, 8, label=0) for n in range(1, 40)]
    settings = msgspec.structs.replace(PLAIN, draw="by_label", lanes=8)
    some = Walk([rare], settings, RATE_HZ, np.random.default_rng(0))
    labels = np.concatenate([some.next().labels[:, 0] for _ in range(50)])
    assert 0.4 < labels.mean() < 0.6


def test_each_visit_shows_one_of_the_views() -> None:
    views = [[sequence(10 * view, 8)] for view in range(3)]
    some = Walk(views, PLAIN, RATE_HZ, np.random.default_rng(0))
    seen = {float(value) for _ in range(20) for value in some.next().features[:, 0, 0]}
    assert seen == {0.0, 10.0, 20.0}


def test_a_walk_depends_on_its_seed_alone() -> None:
    same = {"join": 0.5, "drop": 0.5, "reset": 0.1, "offset": 0.25, "views": 2}
    one, two, other = (chunks(walk([9, 30, 14], seed, **same), 5) for seed in (1, 1, 2))
    for a, b in zip(one, two, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))
    assert any(not np.array_equal(a.features, b.features) for a, b in zip(one, other, strict=True))


def test_an_epoch_is_as_many_steps_as_there_are() -> None:
    views = [[sequence(0, 100), sequence(1, 60)]]
    assert chunks_of(views, PLAIN) == 10
    assert chunks_of([[sequence(0, 3)]], PLAIN) == 1


def test_a_lane_that_is_reset_begins_as_a_stream_is_served() -> None:
    """In the middle of a sequence: its first step has a nominal period behind it, and it has to warm up again."""
    slow = sequence(0, 400)
    slow = FeatureSequence(slow.name, slow.group, slow.features, slow.times_s * 3, slow.labels)
    settings = msgspec.structs.replace(PLAIN, lanes=1, steps=6, warm_up_steps=2, reset=0.5)
    found = chunks(Walk([[slow]], settings, RATE_HZ, np.random.default_rng(5)), 60)
    periods = {fresh: {chunk.dt[0, 0].item() for chunk in found if chunk.fresh[0] == fresh} for fresh in (True, False)}
    assert periods == {True: {1 / RATE_HZ}, False: {3 / RATE_HZ}}
    for chunk in found:
        assert (chunk.dt[0, 1:] == 3 / RATE_HZ).all()
        assert chunk.weight[0].tolist() == [WARM_UP_WEIGHT if chunk.fresh[0] else 1] * 2 + [1] * 4
