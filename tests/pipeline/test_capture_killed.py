"""Writers killed at random moments: what the ring counts is what was done, and the next writer goes on from there."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.capture.ring import FrameFlag, FrameHeader, RollingBuffer

SLOTS, SIDE = 4, 16
KILLS = 150


def write_for_ever(ring: RollingBuffer, start: int) -> None:
    """Of the frames that are due, from `start` on, frame k is thinned out, overruns or is written, in turns."""
    k = start
    while True:
        if k % 3 != 2:
            ring.count(("thinned", "overrun")[k % 3])
        else:
            while ring.full:
                pass
            ring.slot()[:] = k % 251
            ring.commit(FrameHeader(0, k, k, k, k, 0, FrameFlag(0)))
        k += 1


def take_until(ring: RollingBuffer, deadline_s: float, said: list[tuple[int, int]]) -> None:
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    while (header := ring.peek()) is not None or time.monotonic() < deadline_s:
        if header is not None:
            ring.take(picture)
            assert (picture == header.media_ns % 251).all(), "half a picture"
            said.append((header.media_ns, header.dropped))


def kill_again_and_again(kills: int, seed: int) -> None:
    """Run in a process with one thread, so that it may fork."""
    chance = random.Random(seed)
    ring = RollingBuffer.create(SLOTS, SIDE, SIDE)
    said: list[tuple[int, int]] = []
    due = 0
    for _ in range(kills):
        pid = os.fork()
        if pid == 0:
            write_for_ever(ring, due)
        take_until(ring, time.monotonic() + chance.uniform(0.0005, 0.004), said)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        take_until(ring, 0.0, said)
        counts = ring.counts()
        due = counts.due
        assert (counts.thinned, counts.overrun, counts.written) == ((due + 2) // 3, (due + 1) // 3, due // 3), due
        assert counts.due == counts.taken + counts.thinned + counts.overrun + counts.waiting
    assert [number for number, _ in said] == list(range(2, due, 3)), "each once, in order"
    assert {dropped for _, dropped in said} == {2}, "each tells of the two before it, whoever left them out"


def run(kills: int, seed: int) -> None:
    code = f"import test_capture_killed as t; t.kill_again_and_again({kills}, {seed})"
    here = Path(__file__)
    paths = os.pathsep.join([str(here.parent), str(here.parents[2])])
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": paths}, timeout=50 + kills / 10
    )


def test_counts_hold_wherever_a_writer_is_killed():
    run(KILLS, 1)


@pytest.mark.slow
def test_counts_hold_wherever_a_writer_is_killed_ten_thousand_times():
    run(10_000, 2)
