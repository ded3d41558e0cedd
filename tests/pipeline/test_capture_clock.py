"""The media clock and the sampler: monotonic under every raw clock, even sampling, even thinning."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipeline.capture.clock import MediaClock
from pipeline.capture.sampler import Sampler

MS = 1_000_000


def run(raws: list[float], *, live: bool = True, step_ms: int = 40, **options) -> list:
    clock = MediaClock(live=live, **options)
    return [clock.tick(raw, i * step_ms * MS) for i, raw in enumerate(raws)]


def test_a_plain_stream_is_taken_as_it_is():
    assert [t.media_ns for t in run([0, 40, 80, 120])] == [0, 40 * MS, 80 * MS, 120 * MS]


def test_the_double_zero_that_rtsp_starts_with_is_no_jump():
    ticks = run([0, 0, 40, 80])
    assert [t.media_ns for t in ticks] == [0, 0, 40 * MS, 80 * MS]
    assert not any(t.jumped for t in ticks)


def test_a_file_without_stamps_runs_at_its_nominal_rate():
    ticks = run([0] * 8, live=False, period_ns=50 * MS)
    assert [t.media_ns // MS for t in ticks] == [0, 0, 0, 50, 100, 150, 200, 250]


def test_a_camera_without_stamps_runs_by_arrival():
    assert [t.media_ns // MS for t in run([0] * 6, step_ms=70)] == [0, 0, 0, 70, 140, 210]


def test_a_jump_of_an_hour_is_marked_and_swallowed():
    ticks = run([0, 40, 3_600_080, 3_600_120])
    assert [t.jumped for t in ticks] == [False, False, True, False]
    assert [t.media_ns // MS for t in ticks] == [0, 40, 80, 120]


def test_a_clock_that_runs_back_goes_on():
    ticks = run([30_000, 30_040, 0, 40])
    assert [t.jumped for t in ticks] == [False, False, True, False]
    assert [t.media_ns // MS for t in ticks] == [30_000, 30_040, 30_080, 30_120]


def test_a_reconnect_goes_on_where_it_is_told():
    assert [t.media_ns // MS for t in run([500, 540], start_ns=9_000 * MS)] == [9_000, 9_040]


def test_a_real_pause_is_a_gap_and_not_a_jump():
    clock = MediaClock(live=True)
    clock.tick(0, 0)
    tick = clock.tick(15_000, 15_000 * MS)
    assert (tick.media_ns, tick.jumped) == (15_000 * MS, False)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60), st.booleans())
def test_whatever_the_decoder_says_time_never_runs_back(raws, live):
    times = [tick.media_ns for tick in run(raws, live=live)]
    assert times == sorted(times)
    assert times[0] >= 0


def test_sampling_takes_one_frame_a_period_whatever_the_source_rate():
    for source_hz in (5, 7, 12.5, 15, 25, 29.97, 60):
        sampler = Sampler(5.0, thin=False)
        due = [i / source_hz for i in range(int(20 * source_hz)) if sampler.due(round(i / source_hz * 1e9))]
        assert len(due) == 100
        assert max(b - a for a, b in itertools.pairwise(due)) < 0.2 + 1 / source_hz + 1e-6


def kept_cells(lags_ms: list[int]) -> list[int]:
    sampler = Sampler(10.0, thin=True)
    kept = []
    for cell, lag_ms in enumerate(lags_ms):
        assert sampler.due(cell * 100 * MS)
        if sampler.keep(lag_ms * MS):
            kept.append(cell)
    return kept


def test_overload_thins_evenly_and_recovers():
    kept = kept_cells([0] * 10 + [150] + [90] * 8 + [150] + [90] * 8 + [0] * 50)
    gaps = [b - a for a, b in itertools.pairwise(kept)]
    assert [g for g, _ in itertools.groupby(gaps)] == [1, 2, 3, 2, 1], "one step at a time, and evenly in between"
    assert gaps[-10:] == [1] * 10, "the full rate comes back"


def test_a_burst_that_is_taken_at_once_is_no_overload():
    assert kept_cells([1, 2, 3, 4, 5, 6, 7, 8] * 5) == list(range(40))


def test_a_file_is_never_thinned():
    sampler = Sampler(10.0, thin=False)
    assert all(sampler.due(cell * 100 * MS) and sampler.keep(10**12) for cell in range(50))


def test_a_constant_overload_settles_instead_of_hunting():
    """A reader that takes 2.9 frames a second of 5: the rate may not swing for ever."""
    sampler = Sampler(5.0, thin=True)
    waiting_s, strides = 0.0, []
    for cell in range(3000):
        assert sampler.due(cell * 200 * MS)
        if sampler.keep(round(max(0.0, waiting_s - 0.345) * 1e9)):
            waiting_s += 1 / 2.9
        waiting_s = max(0.0, waiting_s - 0.2)
        strides.append(sampler.stride)
    changes = sum(a != b for a, b in itertools.pairwise(strides[1500:]))
    assert changes <= 12
    assert strides[1500:].count(2) > 1300
