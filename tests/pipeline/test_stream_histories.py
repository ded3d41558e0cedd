"""Histories of publisher, journal, network and subscribers: in order, nothing twice, losses mended or told.

The first are found and made small by hypothesis; the long ones are random by their seed.
"""

import logging
import os
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from stream_actions import ACTIONS, GENTLE, STEP_S, act
from stream_world import LANES, MAX_AGE_S, TIMEOUT_S, Listener, World

logging.getLogger("pipeline.stream.archive").setLevel(logging.ERROR)

# what a disk does wrong is done to it here; it may be a fast one
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

LANE = st.sampled_from(LANES)
WHO = st.integers(0, 2)
WHICH = st.integers(0, 30)
heard = precondition(lambda self: self.world.listeners)


class NetworkLoses(RuleBasedStateMachine):
    """Messages, requests and answers are lost, doubled and late; publishers stop in order. Nothing may be missed."""

    lossless = True
    max_age_s = 1e9  # where nothing is to be lost, nothing may grow too old either

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=FOLDER)
        self.world = World(Path(self.folder.name), self.max_age_s)
        self.world.join()

    def listener(self, who: int) -> Listener:
        self.world.now_s += STEP_S
        return self.world.listeners[who % len(self.world.listeners)]

    @rule(lane=LANE, count=st.integers(1, 12))
    def publish(self, lane, count):
        self.world.now_s += STEP_S
        for _ in range(count):
            self.world.publish(lane)

    @rule()
    def heartbeat(self):
        self.world.heartbeat()

    @rule(name=st.sampled_from(["take", "write", "stop"]))
    def journal(self, name):
        getattr(self.world, name)()

    @heard
    @rule(who=WHO, count=st.integers(1, 20))
    def deliver(self, who, count):
        self.world.deliver(self.listener(who), count)

    @heard
    @rule(who=WHO, which=WHICH)
    def lose(self, who, which):
        self.world.lose(self.listener(who), which)

    @heard
    @rule(who=WHO, which=WHICH, later=st.integers(0, 30))
    def double(self, who, which, later):
        self.world.double(self.listener(who), which, later)

    @heard
    @rule(who=WHO, which=WHICH, later=st.integers(1, 30))
    def delay(self, who, which, later):
        self.world.delay(self.listener(who), which, later)

    @heard
    @rule(who=WHO)
    def ask(self, who):
        self.world.ask(self.listener(who))

    @heard
    @rule(who=WHO, which=WHICH, twice=st.booleans())
    def answer(self, who, which, twice):
        self.world.answer(self.listener(who), which, twice=twice)

    @heard
    @rule(who=WHO)
    def forget_answer(self, who):
        self.world.forget_answer(self.listener(who))

    @heard
    @rule(who=WHO, most=st.integers(1, 40))
    def catch_up(self, who, most):
        self.world.catch_up(self.listener(who), most)

    @precondition(lambda self: len(self.world.listeners) < 3)
    @rule()
    def join(self):
        self.world.join()

    @heard
    @rule(who=WHO)
    def rejoin(self, who):
        left = self.listener(who)
        self.world.join(since=self.world.leave(self.world.listeners.index(left)))

    def teardown(self):
        self.world.settle()
        self.world.check(settled=True, lossless=self.lossless)
        self.world.archive.close()
        self.folder.cleanup()


class EverythingFails(NetworkLoses):
    """Publishers are killed, disks are full or gone, networks cut, answers late, messages old: every loss is told."""

    lossless = False
    max_age_s = MAX_AGE_S

    @rule()
    def kill(self):
        self.world.kill()

    @rule(fault=st.sampled_from([{"gone": True}, {"full": True}, {}]))
    def disk(self, fault):
        self.world.disk(**fault)

    @rule(lane=LANE, count=st.integers(60, 100))
    def flood(self, lane, count):
        for _ in range(count):
            self.world.publish(lane)

    @heard
    @rule(who=WHO, off=st.booleans())
    def cut(self, who, off):
        self.world.cut(self.listener(who), off=off)

    @heard
    @rule(who=WHO)
    def leave(self, who):
        self.world.leave(self.world.listeners.index(self.listener(who)))

    @rule(seconds=st.sampled_from([0.05, 0.3, 0.6, 1.0, TIMEOUT_S, MAX_AGE_S / 2]))
    def wait(self, seconds):
        self.world.wait(seconds)


TestNetworkLoses = NetworkLoses.TestCase
TestNetworkLoses.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
TestEverythingFails = EverythingFails.TestCase
TestEverythingFails.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)


def run(seed: int, steps: int, allowed: set[str] | None = None) -> World:
    """A history of that many steps, settled and checked."""
    random = Random(seed)
    names = [name for name in ACTIONS if allowed is None or name in allowed]
    weights = [ACTIONS[name] for name in names]
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        world = World(Path(folder), MAX_AGE_S if allowed is None else 1e9)
        world.join()
        for index in range(1, steps + 1):
            act(world, random.choices(names, weights)[0], random)
            if index % 100 == 0:
                world.check()
        world.settle()
        world.check(settled=True, lossless=allowed is not None)
        world.archive.close()
    return world


def test_nothing_is_missed_in_a_history_where_only_the_network_loses():
    assert run(0, 3000, GENTLE).seen["message"] > 3000


def test_a_history_of_all_faults_meets_all_of_them():
    world = run(0, 10_000)
    assert set(world.seen) >= {
        *ACTIONS,
        "message",
        *(f"gap: {why}" for why in ("missing", "expired", "unknown", "no answer")),
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("allowed", [None, GENTLE], ids=["all faults", "network only"])
def test_long_histories(allowed, capsys):
    for seed in range(10):
        run(seed, 10_000, allowed)
    longest = run(10, 100_000, allowed)
    with capsys.disabled():
        print(f"\nlongest history: {longest.story()}")  # noqa: T201 - what this test is asked for
