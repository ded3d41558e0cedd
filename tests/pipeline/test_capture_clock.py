"""The media clock: monotonic under every raw clock, and jumps are told from gaps."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.media_clock import MediaClock
from pipeline.capture.connection import media_clock
from pipeline.capture.limits import read_ahead as frames_read_ahead
from pipeline.capture.protocol import Order

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


def test_a_jump_of_four_seconds_is_one_too():
    assert [t.jumped for t in run([0, 40, 4_080, 4_120])] == [False, False, True, False]


def test_a_clock_that_is_badly_kept_makes_no_jumps_and_does_not_drift():
    ticks = run([1000, 1040, 1020, 1080, 1120, 1100, 1160])
    assert not any(t.jumped for t in ticks)
    assert [t.media_ns // MS for t in ticks] == [1000, 1040, 1040, 1080, 1120, 1120, 1160]


def test_a_burst_after_a_pause_in_the_network_is_no_jump():
    clock = MediaClock(live=True)
    arrivals = [0, 40, 1900, 1901, 1902, 1960]
    assert not any(clock.tick(k * 400, at * MS).jumped for k, at in enumerate(arrivals))


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


def test_it_knows_whether_the_stream_has_stamps_of_its_own():
    clock = MediaClock(live=True)
    timed = []
    for i, raw in enumerate([0, 0, 40, 40, 40, 40, 80]):
        clock.tick(raw, i * 40 * MS)
        timed.append(clock.timed)
    assert timed == [True, True, True, True, True, False, True]


@pytest.mark.parametrize(
    ("read_ahead", "rate_hz", "opened_in_s", "first_s"),
    [(7, 10.0, 2.0, -0.7), (7, 2.0, 3.0, -3.0), (7, 90_000.0, 2.0, -0.28), (0, 10.0, 2.0, 0.0)],
    ids=["as many frames as were read ahead", "not before it was opened", "no rate is known", "nothing is read ahead"],
)
def test_a_clock_goes_on_at_the_time_at_which_the_first_frame_came(
    read_ahead, rate_hz, opened_in_s, first_s, monkeypatch
):
    """After 5 s without a camera: FFmpeg has read frames before it calls an RTSP stream open."""
    second_ns = 1000 * MS
    sizes = {"slots": 2, "height": 2, "width": 2, "rate_hz": 1.0, "open_timeout_ms": 3000, "read_timeout_ms": 1000}
    since = {"resume_media_ns": 60 * second_ns, "resume_monotonic_ns": 100 * second_ns}
    order = Order("rtsp", "", ring_fd=-1, log_fd=-1, rope_fd=-1, **sizes, **since)
    monkeypatch.setattr("time.monotonic_ns", lambda: 105 * second_ns)
    source = SimpleNamespace(fps=rate_hz, read_ahead=read_ahead)
    clock = media_clock(order, source, round((105 - opened_in_s) * second_ns), live=True)
    assert clock.tick(0.0, 0).media_ns == round((65 + first_s) * second_ns)


def test_ffmpeg_reads_ahead_of_h264_cameras_alone():
    """Measured: HEVC and Motion JPEG over RTSP give their first frame as it comes."""
    cases = [("rtsp", "h264"), ("rtsp", "H264"), ("rtsp", "hevc"), ("rtsp", "MJPG"), ("device", "h264")]
    assert [frames_read_ahead(SimpleNamespace(kind=kind), codec) for kind, codec in cases] == [7, 7, 0, 0, 0]


@pytest.mark.parametrize(("waited_ms", "step_ms", "jumped"), [(10_000, 13_500, False), (1_000, 4_500, True)])
def test_frames_that_were_lost_while_others_waited_are_no_jump(waited_ms, step_ms, jumped):
    """Of a clock that is seconds ahead of the arrivals, what it is measured by is how long that took."""
    clock = MediaClock(live=True)
    clock.tick(0, 0)
    clock.tick(40, 40 * MS)
    tick = clock.tick(40 + step_ms, (40 + waited_ms) * MS)
    assert (tick.jumped, tick.media_ns) == (jumped, (40 + (waited_ms if jumped else step_ms)) * MS)
