"""Sleeping between due frames: long enough to matter, short enough to see the due frame come."""

from __future__ import annotations

import random

import pytest
from capturing import plan

from pipeline.capture.rest import Rest
from pipeline.capture.sampler import Sampler

DECODING_NS = 400_000


def play(
    rate_hz: float,
    *,
    fps: float = 25.0,
    jitter_s: float = 0.0,
    frames: int = 2000,
    held_s: tuple[float, float] | None = None,
    decoding_ns: int = DECODING_NS,
) -> tuple[int, list[float]]:
    """A camera's frames through a simulated clock: how often the process woke, and how late it saw each due frame.

    What would come between the two times of `held_s` comes with the second, all at once.
    """
    rng = random.Random(1)
    rest, sampler = Rest(), Sampler(rate_hz, thin=False)
    now_ns, wakes, late_s = 0.0, 0, []
    for index in range(frames):
        media_ns = round(index / fps * 1e9)
        comes_ns = media_ns + rng.uniform(0, jitter_s) * 1e9
        if held_s is not None and held_s[0] <= comes_ns / 1e9 < held_s[1]:
            comes_ns = held_s[1] * 1e9
        before_ns = now_ns
        if now_ns < comes_ns:
            wakes, now_ns = wakes + 1, comes_ns
        now_ns += decoding_ns
        if sampler.due(media_ns):
            late_s.append((now_ns - decoding_ns - comes_ns) / 1e9)
        seconds = rest.after(media_ns, round(now_ns), round(now_ns - before_ns), sampler.next_due_ns())
        if seconds > 0:
            now_ns, wakes = now_ns + seconds * 1e9, wakes + 1
    return wakes, late_s


@pytest.mark.parametrize("jitter_s", [0.0, 0.004])
def test_a_steady_camera_wakes_twice_for_a_due_frame_and_sees_it_come(jitter_s):
    wakes, late_s = play(8.0, jitter_s=jitter_s)
    assert len(late_s) == 640
    assert wakes <= 2.2 * len(late_s), "once near the frame, once with it, instead of for each of three frames"
    assert sorted(late_s)[int(0.9 * len(late_s))] < 0.001
    assert max(late_s) <= jitter_s + 0.001


def test_a_camera_whose_first_frame_had_to_be_waited_for_is_no_different():
    wakes, late_s = play(8.0, held_s=(-1.0, 0.03))
    assert wakes <= 2.2 * len(late_s)
    assert max(late_s[10:]) < 0.001


def test_slow_sampling_saves_most():
    wakes, late_s = play(1.0)
    assert wakes < 19 * len(late_s), "25 frames in naps of an eighth of a second at most"
    assert max(late_s) < 0.001


def test_a_camera_out_of_rhythm_is_watched_closely():
    _, late_s = play(8.0, jitter_s=0.035)
    assert sorted(late_s)[int(0.9 * len(late_s))] < 0.01
    assert max(late_s) < 0.04


def test_where_every_frame_is_due_nobody_sleeps():
    wakes, late_s = play(25.0)
    assert (wakes, len(late_s)) == (1999, 2000), "once a frame, but for the first, which is there"


@pytest.mark.parametrize("rate_hz", [2.0, 8.0])
@pytest.mark.parametrize("decoding_ns", [500_000, 4_000_000, 8_000_000])
@pytest.mark.parametrize("held_s", [(-1.0, 0.99), (20.0, 21.5)], ids=["burst at the start", "hiccup"])
def test_what_waits_in_the_socket_is_caught_up_with_at_once(rate_hz, decoding_ns, held_s):
    _, late_s = play(rate_hz, held_s=held_s, decoding_ns=decoding_ns)
    after = int((held_s[1] + 2.0) * rate_hz)
    assert max(late_s[after:]) < 0.01


@pytest.mark.parametrize(
    ("source", "transport", "patient"),
    [
        ("rtsp://127.0.0.1/a", "tcp", True),
        ("rtsp://127.0.0.1/a", "udp", False),
        ("http://127.0.0.1/a.mjpg", "tcp", False),
        ("scene://", "tcp", False),
        ("a.mp4", "tcp", False),
        (0, "tcp", False),
    ],
)
def test_only_where_frames_wait_and_have_times_of_their_own(source, transport, patient):
    assert plan("a", source, transport=transport).order(None, None).patient is patient
