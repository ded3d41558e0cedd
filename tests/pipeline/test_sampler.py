"""The sampler: one frame a period, and under overload a rate that settles at the reader's own, evenly and fairly."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.capture.sampler import Sampler

MS = 1_000_000
RATE_HZ, SOURCE_HZ = 10.0, 25.0


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
    ring: deque[float] = field(default_factory=deque)
    kept: list[tuple[float, int]] = field(default_factory=list)
    waits_s: list[tuple[float, float]] = field(default_factory=list)
    strides: list[tuple[float, float]] = field(default_factory=list)

    def gaps(self, since_s: float) -> list[int]:
        return [b - a for a, b in itertools.pairwise(cell for at_s, cell in self.kept if at_s > since_s)]


def serve(cameras: int, seconds: float, service_s: Callable[[float], float]) -> list[Seen]:
    """Cameras with clocks of their own and one reader that takes a frame of each in turn, `service_s(now)` each."""
    rng = random.Random(3)
    seen = [Seen(Sampler(RATE_HZ, thin=True)) for _ in range(cameras)]
    phases = [rng.uniform(0, 1) for _ in seen]
    frames = sorted((phases[i] + k / SOURCE_HZ, i, k) for i in range(cameras) for k in range(int(seconds * SOURCE_HZ)))
    free_s, turn = 0.0, 0
    for now_s, number, frame in frames:
        while free_s <= now_s and any(camera.ring for camera in seen):
            while not seen[turn].ring:
                turn = (turn + 1) % cameras
            ready_s = seen[turn].ring.popleft()
            free_s = max(free_s, ready_s)
            seen[turn].waits_s.append((free_s, free_s - ready_s))
            free_s += service_s(free_s)
            turn = (turn + 1) % cameras
        camera = seen[number]
        if not camera.sampler.due(round(frame / SOURCE_HZ * 1e9)):
            continue
        if camera.sampler.keep(round((now_s - camera.ring[0]) * 1e9) if camera.ring else 0):
            camera.ring.append(now_s)
            camera.kept.append((now_s, int(frame / SOURCE_HZ * RATE_HZ + 0.05)))
        camera.strides.append((now_s, camera.sampler.stride))
    return seen


@pytest.mark.parametrize("overload", [1.3, 2.0, 2.6, 5.0])
@pytest.mark.parametrize("cameras", [1, 6])
def test_a_lasting_overload_settles_at_an_even_rate_and_equal_shares(cameras: int, overload: float) -> None:
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


def test_a_reader_of_changing_speed_still_gets_an_even_stream() -> None:
    rng = random.Random(1)
    for camera in serve(6, 120.0, lambda _: 2.0 / (6 * RATE_HZ) * rng.lognormvariate(0, 0.3)):
        gaps = np.array(camera.gaps(since_s=20.0))
        assert np.mean((gaps >= 1) & (gaps <= 3)) > 0.99
        assert np.mean(gaps == 2) > 0.7
        assert gaps.mean() == pytest.approx(2.09, abs=0.1)


def test_a_reader_that_keeps_up_is_not_thinned() -> None:
    rng = random.Random(2)
    for camera in serve(6, 60.0, lambda _: 0.85 / (6 * RATE_HZ) * rng.lognormvariate(0, 0.3)):
        assert set(camera.gaps(since_s=0.0)) == {1}


def test_a_little_overload_costs_a_little() -> None:
    for camera in serve(4, 120.0, lambda _: 1.03 / (4 * RATE_HZ)):
        gaps = camera.gaps(since_s=20.0)
        assert set(gaps) == {1, 2}
        assert np.mean(gaps) < 1.06


def test_the_full_rate_comes_back_after_an_overload_and_after_a_stall() -> None:
    overloaded = serve(4, 60.0, lambda now_s: (3.0 if now_s < 30.0 else 0.5) / (4 * RATE_HZ))
    stalled = serve(4, 60.0, lambda now_s: 0.25 if 28.0 <= now_s < 29.0 else 0.5 / (4 * RATE_HZ))
    for camera in (*overloaded, *stalled):
        assert [g for g in camera.gaps(since_s=15.0) if g > 1], "it was thinned"
        assert set(camera.gaps(since_s=45.0)) == {1}


def test_a_reader_that_stands_still_gets_ever_fewer_frames_and_no_full_ring() -> None:
    sampler = Sampler(10.0, thin=True)
    kept = [cell for cell in range(600) if sampler.due(cell * 100 * MS) and sampler.keep(cell * 100 * MS)]
    assert 5 < len(kept) < 16
    gaps = [b - a for a, b in itertools.pairwise(kept)]
    assert gaps == sorted(gaps)
