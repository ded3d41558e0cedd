"""The sampler: one frame a period, and under overload a rate that settles at the reader's own, evenly and fairly."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from pipeline.capture.ring import FrameFlag, FrameHeader, RollingBuffer
from pipeline.capture.sampler import Sampler

MS = 1_000_000
RATE_HZ, SOURCE_HZ = 10.0, 25.0
SLOTS = 16

Serve = Callable[[int, float, Callable[[float], float]], "list[Seen]"]


def test_sampling_takes_one_frame_a_period_whatever_the_source_rate():
    for source_hz in (5, 7, 12.5, 15, 25, 29.97, 60):
        sampler = Sampler(5.0, thin=False)
        due = [i / source_hz for i in range(int(20 * source_hz)) if sampler.due(round(i / source_hz * 1e9))]
        assert len(due) == 100
        assert max(b - a for a, b in itertools.pairwise(due)) < 0.2 + 1 / source_hz + 1e-6


def test_a_burst_that_is_taken_at_once_is_no_overload():
    sampler = Sampler(10.0, thin=True)
    kept = [cell for cell in range(40) if sampler.due(cell * 100 * MS) and sampler.keep(cell % 8 * MS)]
    assert kept == list(range(40))


def test_a_file_is_never_thinned():
    sampler = Sampler(10.0, thin=False)
    assert all(sampler.due(cell * 100 * MS) and sampler.keep(10**12) for cell in range(50))


@dataclass
class Seen:
    """What one camera's frames went through: kept (time, cell), how long each waited, and the stride at each."""

    sampler: Sampler
    ring: RollingBuffer
    kept: list[tuple[float, int]] = field(default_factory=list)
    waits_s: list[tuple[float, float]] = field(default_factory=list)
    strides: list[tuple[float, float]] = field(default_factory=list)
    overrun: int = 0

    def gaps(self, since_s: float, until_s: float = 1e9) -> list[int]:
        return [b - a for a, b in itertools.pairwise(cell for at_s, cell in self.kept if since_s < at_s < until_s)]

    def offer(self, now_s: float, cell: int) -> None:
        """As a capture process does with a due frame."""
        now_ns = round(now_s * 1e9)
        lag_ns = self.ring.lag_ns(now_ns)
        if self.ring.full:
            self.overrun += 1
        elif self.sampler.keep(lag_ns, self.ring.room):
            self.ring.commit(FrameHeader(0, 0, 0, now_ns, now_ns, 0, FrameFlag(0)))
            self.kept.append((now_s, cell))
        self.strides.append((now_s, self.sampler.stride))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Cameras with clocks of their own and one reader that takes a frame of each in turn, `service_s(now)` each."""
    with ExitStack() as stack:
        yield partial(_serve, stack)


def _serve(stack: ExitStack, cameras: int, seconds: float, service_s: Callable[[float], float]) -> list[Seen]:
    rng = random.Random(3)
    seen = [Seen(Sampler(RATE_HZ, thin=True), RollingBuffer.create(SLOTS, 2, 2)) for _ in range(cameras)]
    for camera in seen:
        stack.callback(camera.ring.close)
    phases = [rng.uniform(0, 1) for _ in seen]
    frames = sorted((phases[i] + k / SOURCE_HZ, i, k) for i in range(cameras) for k in range(int(seconds * SOURCE_HZ)))
    free_s, turn = 0.0, 0
    for now_s, number, frame in frames:
        while free_s <= now_s and any(camera.ring.backlog for camera in seen):
            while (header := seen[turn].ring.peek()) is None:
                turn = (turn + 1) % cameras
            seen[turn].ring.skip()
            ready_s = header.ready_ns / 1e9
            free_s = max(free_s, ready_s)
            seen[turn].waits_s.append((free_s, free_s - ready_s))
            free_s += service_s(free_s)
            turn = (turn + 1) % cameras
        if seen[number].sampler.due(round(frame / SOURCE_HZ * 1e9)):
            seen[number].offer(now_s, int(frame / SOURCE_HZ * RATE_HZ + 0.05))
    return seen


@pytest.mark.parametrize("overload", [1.3, 2.0, 2.6, 5.0])
@pytest.mark.parametrize("cameras", [1, 6])
def test_a_lasting_overload_settles_at_an_even_rate_and_equal_shares(
    serve: Serve, cameras: int, overload: float
) -> None:
    seen = serve(cameras, 90.0, lambda _: overload / (cameras * RATE_HZ))
    shares = []
    for camera in seen:
        gaps = camera.gaps(since_s=20.0)
        assert all(abs(gap - overload) <= 1 for gap in gaps), set(gaps)
        waits_s = [wait_s for at_s, wait_s in camera.waits_s if at_s > 20.0]
        assert max(waits_s) < 3 * overload / RATE_HZ, "patience, the reader's turn, and one sampling period"
        settled = [stride for at_s, stride in camera.strides if at_s > 20.0]
        assert max(settled) - min(settled) < 0.3 * overload
        shares.append(len(gaps) / 70.0)
    assert shares == pytest.approx([RATE_HZ / overload] * cameras, rel=0.03)


def test_a_reader_of_changing_speed_still_gets_an_even_stream(serve: Serve) -> None:
    rng = random.Random(1)
    for camera in serve(6, 120.0, lambda _: 2.0 / (6 * RATE_HZ) * rng.lognormvariate(0, 0.3)):
        gaps = np.array(camera.gaps(since_s=20.0))
        assert np.mean((gaps >= 1) & (gaps <= 3)) > 0.99
        assert np.mean(gaps == 2) > 0.7
        assert gaps.mean() == pytest.approx(2.09, abs=0.1)


def test_a_reader_that_keeps_up_is_not_thinned(serve: Serve) -> None:
    rng = random.Random(2)
    for camera in serve(6, 60.0, lambda _: 0.85 / (6 * RATE_HZ) * rng.lognormvariate(0, 0.3)):
        assert set(camera.gaps(since_s=0.0)) == {1}


def test_a_little_overload_costs_a_little(serve: Serve) -> None:
    for camera in serve(4, 120.0, lambda _: 1.03 / (4 * RATE_HZ)):
        gaps = camera.gaps(since_s=20.0)
        assert set(gaps) == {1, 2}
        assert np.mean(gaps) < 1.06


def test_the_full_rate_comes_back_after_an_overload_and_after_a_stall(serve: Serve) -> None:
    overloaded = serve(4, 60.0, lambda now_s: (3.0 if now_s < 30.0 else 0.5) / (4 * RATE_HZ))
    stalled = serve(4, 60.0, lambda now_s: 0.25 if 28.0 <= now_s < 29.0 else 0.5 / (4 * RATE_HZ))
    for camera in (*overloaded, *stalled):
        assert [g for g in camera.gaps(since_s=15.0) if g > 1], "it was thinned"
        assert set(camera.gaps(since_s=45.0)) == {1}


def stops_once(stall_s: float) -> Callable[[float], float]:
    """A reader that keeps up easily, but stands still once, 20 s from the start."""
    left = [stall_s]
    return lambda now_s: left.pop() if left and now_s >= 20.0 else 0.3 / (4 * RATE_HZ)


@pytest.mark.parametrize("stall_s", [0.3, 0.7])
def test_a_reader_that_stands_still_for_less_than_half_the_ring_loses_nothing(serve: Serve, stall_s: float) -> None:
    for camera in serve(4, 40.0, stops_once(stall_s)):
        assert set(camera.gaps(since_s=0.0)) == {1}


def test_a_reader_that_stood_still_for_longer_gets_the_full_rate_at_once(serve: Serve) -> None:
    for camera in serve(4, 40.0, stops_once(2.0)):
        assert 2 <= max(camera.gaps(since_s=20.0, until_s=22.1)) <= 8
        assert set(camera.gaps(since_s=22.2)) == {1}, "a stall says nothing about the reader's rate"
        assert not camera.overrun


def test_a_reader_that_stands_still_gets_ever_fewer_frames() -> None:
    sampler, ring = Sampler(10.0, thin=True), RollingBuffer.create(SLOTS, 2, 2)
    camera = Seen(sampler, ring)
    for cell in range(600):
        if sampler.due(cell * 100 * MS):
            camera.offer(cell / 10, cell)
    gaps = camera.gaps(since_s=-1.0)
    assert gaps == sorted(gaps)
    assert gaps == [1] * 8 + [2] * 4 + [3, 4, 8]
    assert sampler.stride == 1.0
    ring.close()
