"""RTSP through both back ends: the same frames and times, and what each of them sees of a camera's faults."""

from __future__ import annotations

import numpy as np
import pytest
from capturing import plan, read
from hypothesis import given
from hypothesis import strategies as st
from numbered import RATE, SIZE, numbered_media

from engines.errors import UnsupportedSourceError
from pipeline.capture.fleet import Fleet
from pipeline.capture.frame_times import FrameTimes
from pipeline.capture.limits import MAX_PIXELS, check_size
from pipeline.capture.ring import FrameFlag
from pipeline.capture.state import CameraState
from pipeline.fakecam import FakeCamera, connection
from pipeline.fakecam.faults import Corrupt, Drop, Resize
from pipeline.rtsp.auth import Credentials, Guard

CAPTURES = ("opencv", "pyav")


def test_no_frame_of_a_camera_is_lost_and_pyav_places_the_first_ones_too():
    with (
        FakeCamera(numbered_media(), start="on_connect") as camera,
        Fleet([plan(capture, camera.url, capture=capture) for capture in CAPTURES]) as fleet,
    ):
        logs = read(fleet, lambda logs: all(len(log.numbers) > 60 for log in logs.values()))
    # OpenCV gives the first two frames one time, so the second is of no sampling cell of its own
    for capture, first in (("opencv", [0, 2]), ("pyav", [0, 1])):
        log = logs[capture]
        assert log.numbers[:2] == first
        steps = [1 + header.dropped for header in log.headers[2:]]  # where this test was too slow
        assert np.diff(log.numbers[1:]).tolist() == steps
    times_s = [header.media_ns / 1e9 for header in logs["pyav"].headers]
    assert np.allclose(times_s, np.array(logs["pyav"].numbers) / RATE, atol=1e-4)


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_camera_that_speaks_of_sound_and_sends_none_is_asked_for_its_video_alone(capture, monkeypatch):
    """FFmpeg would wait for sound until the connection is given up."""
    real = connection.describe
    sound = "m=audio 0 RTP/AVP 0\r\na=control:track2\r\n"
    monkeypatch.setattr(connection, "describe", lambda *asked: real(*asked) + sound)
    with (
        FakeCamera(numbered_media()) as camera,
        Fleet([plan("a", camera.url, capture=capture, open_timeout_s=20.0)]) as fleet,
    ):
        read(fleet, lambda logs: len(logs["a"].numbers) > 3)
        assert fleet.cameras["a"].connections == 1


@pytest.mark.slow
@pytest.mark.parametrize("capture", CAPTURES)
def test_a_camera_with_few_frames_opens_before_it_is_given_up(capture):
    with (
        FakeCamera(numbered_media(rate=4)) as camera,
        Fleet([plan("a", camera.url, capture=capture, open_timeout_s=3.5, stall_s=2.0)]) as fleet,
    ):
        log = read(fleet, lambda logs: len(logs["a"].numbers) > 16)["a"]
    assert not any(FrameFlag.JUMPED in header.flags for header in log.headers), "FFmpeg drops a frame at the time-out"


@pytest.mark.slow
@pytest.mark.parametrize("capture", CAPTURES)
def test_a_gap_is_as_long_as_the_camera_was_away_and_not_as_it_took_to_look_at_the_stream(capture):
    rate = 5.0  # at which FFmpeg's usual look at a stream takes four seconds
    with (
        FakeCamera(numbered_media(rate=rate)) as camera,
        Fleet([plan("a", camera.url, capture=capture, open_timeout_s=8.0, stall_s=3.0)]) as fleet,
    ):
        before = read(fleet, lambda logs: len(logs["a"].numbers) > 10)["a"]
        fleet.cameras["a"].process.kill()
        after = read(fleet, lambda logs: len(logs["a"].numbers) > 3)["a"]
    gap_s = (after.headers[-1].media_ns - before.headers[-1].media_ns) / 1e9
    assert abs(gap_s - (after.numbers[-1] - before.numbers[-1]) / rate) < 2.0


def test_pyav_sees_a_new_picture_size_on_the_very_frame():
    with FakeCamera(numbered_media()) as camera, Fleet([plan("a", camera.url, capture="pyav")]) as fleet:
        before = read(fleet, lambda logs: len(logs["a"].numbers) > 20)["a"]
        camera.inject(Resize(320, 240))
        after = read(fleet, lambda logs: any(FrameFlag.RESIZED in h.flags for h in logs["a"].headers))["a"]
        assert (fleet.cameras["a"].size, fleet.cameras["a"].connections) == ((320, 240), 1)
    assert not any(FrameFlag.RESIZED in h.flags for h in before.headers)
    resized = [h for h in after.headers if FrameFlag.RESIZED in h.flags]
    assert len(resized) == 1


@pytest.mark.parametrize(
    ("transport", "fault"),
    [
        pytest.param("tcp", Corrupt(0.3, seed=1), id="flipped bits"),
        pytest.param("udp", Drop(0.3, seed=1), id="UDP loss", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("capture", [pytest.param("opencv", marks=pytest.mark.slow), "pyav"])
def test_damage_is_marked_up_to_the_next_whole_picture_and_no_reason_to_reconnect(capture, transport, fault):
    with (
        FakeCamera(numbered_media(gop_s=0.25)) as camera,
        Fleet([plan("a", camera.url, capture=capture, transport=transport)]) as fleet,
    ):
        read(fleet, lambda logs: len(logs["a"].numbers) > 20)
        assert fleet.cameras["a"].ring.counts().damaged == 0
        camera.inject(fault)
        read(fleet, lambda logs: sum(FrameFlag.DAMAGED in h.flags for h in logs["a"].headers) > 5)
        camera.clear()
        assert fleet.cameras["a"].ring.counts().damaged > 0
        assert fleet.cameras["a"].connections == 1
        healed = read(fleet, lambda logs: len(logs["a"].numbers) > RATE)["a"]
    assert not any(FrameFlag.DAMAGED in h.flags for h in healed.headers[-20:]), "an IDR picture came in between"


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize(("login", "words"), [("cam:Kanari@", "refuses the user name"), ("", "the source names none")])
def test_a_wrong_password_is_tried_once_and_never_shown(capture, login, words):
    guard = Guard(Credentials("cam", "right"), scheme="digest")
    with (
        FakeCamera(numbered_media(), guard=guard) as camera,
        Fleet([plan("a", camera.url.replace("://", f"://{login}"), capture=capture)]) as fleet,
    ):
        log = read(fleet, lambda _: fleet.cameras["a"].state is CameraState.AUTH_FAILED)["a"]
        assert (camera.counters.connections, camera.counters.wrong_credentials) == (1, len(login) > 0)
    assert words in log.states[-1][1] or words in fleet.cameras["a"].detail
    assert "Kanari" not in str(log.states) + fleet.cameras["a"].detail


@pytest.mark.parametrize("capture", [pytest.param("opencv", marks=pytest.mark.slow), "pyav"])
def test_the_end_of_a_stream_is_seen_at_once(capture):
    with FakeCamera(numbered_media()) as camera, Fleet([plan("a", camera.url, capture=capture)]) as fleet:
        log = read(fleet, lambda logs: len(logs["a"].numbers) > 20)["a"]
        camera.disconnect_all()
        log = read(fleet, lambda _: fleet.cameras["a"].state is CameraState.BACKOFF, limit_s=1.0)["a"]
        assert "the stream ended" in fleet.cameras["a"].detail
    assert log.states


@given(st.integers(0, 4), st.floats(0, 1e7), st.floats(1, 240), st.integers(1, 50))
def test_frames_without_a_stamp_are_placed_before_those_with_one(untimed, first_ms, fps, count):
    times = FrameTimes(fps, fill=True)
    period_ms = 1000 / fps
    stamps = [None] * untimed + [first_ms + k * period_ms for k in range(count)]
    placed = [times.place(stamp) for stamp in stamps]
    assert placed == sorted(placed)
    if 0 < untimed <= 3:
        assert np.allclose(placed, np.arange(len(placed)) * period_ms, atol=1e-3)
    if untimed == 0:
        assert placed == stamps


def test_a_file_s_frames_keep_their_stamps():
    times = FrameTimes(25.0, fill=False)
    assert [times.place(stamp) for stamp in (None, None, 40.0, None, 120.0)] == [0.0, 0.0, 40.0, 40.0, 120.0]


def test_only_pictures_of_a_sane_size_are_read():
    check_size(8192, 8192)
    check_size(*SIZE)
    with pytest.raises(UnsupportedSourceError, match="8193x8192; at most 67108864 pixels"):
        check_size(8193, 8192)
    assert MAX_PIXELS == 8192**2
