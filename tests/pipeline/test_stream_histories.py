"""Random histories of publisher, journal, network and subscribers: in order, nothing twice, losses mended or told."""

import logging
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_world import ACTIONS, GENTLE, MAX_AGE_S, World, act

logging.getLogger("pipeline.stream.archive").setLevel(logging.ERROR)


def run(seed: int, steps: int, allowed: set[str] | None = None) -> World:
    """A history of that many steps, settled and checked."""
    random = Random(seed)
    names = [name for name in ACTIONS if allowed is None or name in allowed]
    weights = [ACTIONS[name] for name in names]
    with tempfile.TemporaryDirectory() as folder:
        # where nothing is to be lost, nothing may grow too old either
        world = World(Path(folder), MAX_AGE_S if allowed is None else 1e9)
        world.join()
        for index in range(1, steps + 1):
            act(world, random.choices(names, weights)[0], random)
            if index % 1000 == 0:
                world.check()
        world.settle()
        world.check(settled=True, lossless=allowed is not None)
        world.archive.close()
    return world


@given(st.integers(0, 2**32), st.integers(1, 200))
@settings(max_examples=25, deadline=None)
def test_whatever_happens_every_message_comes_once_in_order_or_is_reported_once(seed, steps):
    run(seed, steps)


@given(st.integers(0, 2**32), st.integers(1, 200))
@settings(max_examples=15, deadline=None)
def test_nothing_is_missed_where_only_the_network_loses_and_publishers_stop_in_order(seed, steps):
    run(seed, steps, GENTLE)


def test_a_history_of_all_faults_meets_all_of_them():
    world = run(0, 3000)
    assert set(world.seen) >= {
        *ACTIONS,
        "message",
        *(f"gap: {why}" for why in ("missing", "expired", "unknown", "no answer")),
    }
    assert sum(listener.order.repaired for listener in world.listeners) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("allowed", [None, GENTLE], ids=["all faults", "network only"])
def test_long_histories(allowed, capsys):
    for seed in range(10):
        run(seed, 10_000, allowed)
    longest = run(10, 100_000 if allowed is None else 30_000, allowed)
    with capsys.disabled():
        print(f"\nlongest history: {longest.story()}")  # noqa: T201 - what this test is asked for
