"""How a running connection is judged, on a clock of the test's own; crashes that come too often."""

from dataclasses import replace

import pytest

from pipeline.capture.backoff import CrashLoop
from pipeline.capture.health import Health
from pipeline.capture.ring import CaptureCounts

START = CaptureCounts(grabbed=0, written=0, read=0, thinned=0, overrun=0, damaged=0, expired=0)


class Watched:
    """A camera at 10 frames a second, looked at four times a second."""

    def __init__(self, stall_s: float = 2.0, *, waits: bool = False) -> None:
        self.now_s, self.counts, self.full, self.waits = 100.0, START, False, waits
        self.health = Health(stall_s)
        self.health.begin(self.now_s, START)

    def live(self, seconds: float, *, grabbed: int = 2, read: int = 2, damaged: int = 0, expired: int = 0) -> list[str]:
        states = []
        for _ in range(round(seconds * 4)):
            self.now_s += 0.25
            c = self.counts
            self.counts = replace(
                c,
                grabbed=c.grabbed + grabbed,
                written=c.written + grabbed,
                read=c.read + read + expired,
                damaged=c.damaged + damaged,
                expired=c.expired + expired,
            )
            states.append(self.health.look(self.now_s, self.counts, full=self.full, waits=self.waits).value)
        return states


def test_frames_that_come_and_are_taken_are_all_it_takes():
    assert set(Watched().live(20)) == {"running"}


def test_it_stalls_at_three_quarters_of_the_limit_and_runs_with_the_next_frame():
    camera = Watched(stall_s=2.0)
    camera.live(1)
    assert camera.live(2, grabbed=0, read=0) == ["running"] * 5 + ["stalled"] * 3
    assert camera.live(0.5) == ["running", "running"]


@pytest.mark.parametrize("expired", [0, 1])
def test_frames_that_nobody_takes_are_blocked_and_no_stall(expired):
    camera = Watched()
    camera.live(1)
    assert camera.live(3, read=0, expired=expired)[-1] == "blocked"
    assert camera.live(0.25, read=1) == ["running"]


def test_a_file_that_waits_for_its_reader_does_not_stall():
    camera = Watched(waits=True)
    camera.full = True
    assert set(camera.live(10, grabbed=1, read=1)) == {"running"}
    camera.live(1, grabbed=1, read=0)
    assert camera.live(10, grabbed=0, read=0)[-1] == "blocked"
    assert camera.now_s - camera.health.heard_s == 0


def test_a_file_that_others_hold_up_for_a_while_is_not_blocked():
    assert "blocked" not in Watched(waits=True).live(9, grabbed=1, read=0)


def test_one_damaged_packet_degrades_nothing_and_a_row_of_them_does_until_they_end():
    camera = Watched()
    assert set(camera.live(0.25, damaged=3) + camera.live(6)) == {"running"}
    assert camera.live(2, damaged=1)[-1] == "degraded"
    after = camera.live(8)
    assert after[0] == "degraded"
    assert after[-1] == "running"


def test_a_frozen_picture_is_what_the_capture_process_calls_one():
    camera = Watched()
    camera.health.frozen = True
    assert set(camera.live(1, damaged=5)) == {"frozen"}
    assert camera.live(2, grabbed=0, read=0)[-1] == "stalled"
    camera.health.begin(camera.now_s, camera.counts)
    assert set(camera.live(1)) == {"running"}


def test_five_crashes_within_a_minute_are_a_loop_and_a_slow_one_is_none():
    loop = CrashLoop()
    assert [loop.add(t) for t in (0, 2, 5, 10, 19)] == [False, False, False, False, True]
    assert loop.add(61)
    assert not loop.add(80)
    slow = CrashLoop()
    assert not any(slow.add(20.0 * k) for k in range(20))
