"""`vidpipe top`: figures from messages, and how they are shown."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations_messages import prediction, status
from rich.console import Console

from pipeline.cli.top_view import LineView, line_of, render
from pipeline.operations.overview import Overview, percentile
from pipeline.stream.messages import Counts


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def minutes_of(camera: str, clock: Clock, overview: Overview, seconds: int = 20, rate: int = 5) -> None:
    """A healthy camera: a heartbeat and a clip a second, latencies of 1 to `seconds` ms."""
    for second in range(seconds):
        clock.now_s += 1
        counts = Counts(due=rate * second + 10, processed=rate * second, thinned=10)
        overview.observe(status(camera, counts=counts, frame_age_s=0.1, resets={"start": 1, "gap": 2}))
        overview.observe(prediction(camera, latency={"total": 1000 * (second + 1)}))


def drawn(overview: Overview, width: int = 140, missed: int = 0) -> str:
    out = io.StringIO()
    content = render(overview, "tcp://x:1", missed, width=width)
    Console(file=out, width=width, force_terminal=False).print(content)
    return out.getvalue()


def test_figures_of_a_healthy_camera():
    clock = Clock()
    overview = Overview(clock)
    minutes_of("front", clock, overview)
    (row,) = overview.figures()
    assert (row.camera, row.state, row.rate_hz, row.frame_age_s) == ("front", "running", 5.0, 0.1)
    assert (row.latency_p50_ms, row.latency_p99_ms) == (10.0, 20.0)
    assert (row.processed, row.dropped) == (95, 10)
    assert (row.label, row.score) == ("idle", 0.9)


def test_a_rate_falls_when_frames_stop_and_old_latencies_are_forgotten():
    clock = Clock()
    overview = Overview(clock)
    minutes_of("front", clock, overview)
    for _ in range(121):
        clock.now_s += 1
        overview.observe(status("front", state="backoff", counts=Counts(processed=95), frame_age_s=3.0))
    (row,) = overview.figures()
    assert (row.state, row.rate_hz, row.latency_p50_ms) == ("backoff", 0.0, None)


def test_a_publisher_that_is_silent_is_not_called_running():
    clock = Clock()
    overview = Overview(clock)
    minutes_of("front", clock, overview)
    clock.now_s += 7
    (row,) = overview.figures()
    assert (row.state, row.detail, row.rate_hz) == ("unheard", "no heartbeat for 7 s", None)
    assert row.frame_age_s == pytest.approx(7.1)
    assert "0 of 1 cameras running" in drawn(overview)


def test_a_new_publisher_begins_a_new_rate():
    clock = Clock()
    overview = Overview(clock)
    minutes_of("front", clock, overview)
    minutes_of("front", clock, overview, seconds=3, rate=2)
    assert overview.figures()[0].rate_hz == 2.0


def test_it_is_settled_after_two_heartbeats_of_everybody():
    clock = Clock()
    overview = Overview(clock)
    clock.now_s += 100
    assert not overview.settled
    overview.observe(status("a"))
    clock.now_s += 2
    assert not overview.settled
    clock.now_s += 1
    assert overview.settled


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values, share):
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert sum(v <= found for v in ordered) >= share * len(ordered) - 1e-6
    assert sum(v < found for v in ordered) < share * len(ordered) + 1e-6


def test_the_table_shows_what_is_wrong():
    clock = Clock()
    overview = Overview(clock)
    minutes_of("front", clock, overview)
    overview.observe(status("back", state="backoff", detail="refused", retry_in_s=4.1, reconnects={"refused": 3}))
    overview.observe(status("yard", alarms=("the disk is full",), counts=Counts(processed=3, thinned=1, damaged=17)))
    text = drawn(overview, missed=2)
    assert "2 of 3 cameras running, 2 messages lost on the way" in text
    for shown in ("5.0/s", "0.1 s", "10.0 ms", "20.0 ms", "gap 2", "refused 3", "1 (25.0 %)", "17"):
        assert shown in text
    assert "back: refused; trying again in 4 s" in text
    assert "alarm: the disk is full" in text
    assert "start 1" not in text, "every memory begins once"


def test_the_wait_for_the_next_try_counts_down():
    clock = Clock()
    overview = Overview(clock)
    shown = []
    for retry_in_s, seconds in ((68.0, 0), (67.0, 0.6), (67.0, 3.0), (2.0, 1.8)):
        overview.observe(status("back", state="backoff", detail="refused", retry_in_s=retry_in_s))
        clock.now_s += seconds
        shown.append(overview.figures()[0].detail.removeprefix("refused; trying again "))
    assert shown == ["in 68 s", "in 66 s", "in 64 s", "now"]


def test_a_narrow_terminal_shows_each_camera_on_one_line():
    clock = Clock()
    overview = Overview(clock)
    minutes_of("front", clock, overview)
    minutes_of("loading-dock", clock, overview, seconds=3)
    lines = drawn(overview, width=80).splitlines()
    assert [line.split() for line in lines[-2:]] == [
        ["front", "running", "5.0/s", "3.1", "s", "10.0", "20.0", "10", "0", "2", "0"],
        ["loading-dock", "running", "5.0/s", "0.1", "s", "2.0", "3.0", "10", "0", "2", "0"],
    ]
    assert max(len(line) for line in lines) <= 80


@pytest.mark.parametrize(("width", "figures"), [(60, ["5.0/s", "20.0", "10", "2", "0"]), (40, ["5.0/s", "20.0", "0"])])
def test_a_narrower_one_leaves_out_figures_and_no_camera(width, figures):
    clock = Clock()
    overview = Overview(clock)
    minutes_of("front", clock, overview)
    lines = drawn(overview, width=width).splitlines()
    assert lines[-1].split() == ["front", "running", *figures]
    assert max(len(line) for line in lines) <= width


def test_on_a_small_screen_the_cameras_in_trouble_come_first():
    overview = Overview(Clock())
    for number in range(30):
        overview.observe(status(f"camera{number:02}", state="running" if number != 25 else "frozen"))
    out = io.StringIO()
    Console(file=out, width=120).print(render(overview, "tcp://x:1", 0, most=5))
    lines = [line for line in out.getvalue().splitlines() if "camera" in line]
    assert "camera25" in lines[2]
    assert len(lines) == 2 + 5
    assert "and 25 more" in out.getvalue()


def test_nothing_heard_is_said():
    assert "nothing heard yet" in drawn(Overview())


def test_lines_for_people_and_json_for_programs(capfd):
    clock = Clock()
    overview = Overview(clock)
    minutes_of("front", clock, overview)
    for as_json in (False, True):
        with LineView(json=as_json) as view:
            view.show(overview, 1)
    plain, line = capfd.readouterr().out.splitlines()
    assert plain == line_of(overview.figures()[0])
    assert plain.startswith("front        running      rate 5.0/s  age 0.1 s  p50 10.0 ms  p99 20.0 ms")
    report = json.loads(line)
    assert report["missed"] == 1
    assert report["cameras"][0]["latency_p99_ms"] == 20.0
