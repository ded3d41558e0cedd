"""Cameras that fail: down at the start, gone, stalled, refusing; the others run on, and all come back."""

import itertools
import os
import random
import select
import signal
import socket
import time

import pytest
from capturing import plan, read
from processes import free_port
from videos import pictures, write_video

from pipeline.capture.backoff import Backoff
from pipeline.capture.fleet import Fleet
from pipeline.capture.link import Link
from pipeline.capture.process import CaptureProcess
from pipeline.capture.protocol import CREDIT, Ended, EndReason, encode
from pipeline.capture.ring import FrameFlag, FrameHeader
from pipeline.capture.supervisor import CameraState, CameraSupervisor
from pipeline.fakecam import Encoding, FakeCamera
from pipeline.fakecam.pictures import PictureMedia
from pipeline.redaction import NO_SECRETS
from pipeline.rtsp.auth import Credentials, Guard

WIDTH, HEIGHT, FPS = 320, 240, 15


def media() -> PictureMedia:
    numbered = list(pictures(300, WIDTH, HEIGHT))
    return PictureMedia(lambda: lambda number: numbered[number % 300], Encoding(WIDTH, HEIGHT, FPS))


def seen(states) -> list[str]:
    return [key for key, _ in itertools.groupby(state.value for state, _ in states)]


def test_a_camera_that_is_down_at_the_start_joins_when_it_comes_and_the_others_do_not_wait():
    port = free_port()
    with (
        FakeCamera(media()) as other,
        Fleet([plan("late", f"rtsp://127.0.0.1:{port}/camera0"), plan("b", other.url)]) as fleet,
    ):
        logs = read(fleet, lambda logs: len(logs["b"].numbers) > 30)
        assert logs["late"].numbers == []
        assert CameraState.BACKOFF in {state for state, _ in logs["late"].states}
        assert "nothing listens there" in fleet.cameras["late"].detail
        with FakeCamera(media(), port=port) as late:
            assert late.url == f"rtsp://127.0.0.1:{port}/camera0"
            logs = read(fleet, lambda logs: len(logs["late"].numbers) > 10, limit_s=60)
    assert logs["b"].numbers


def test_a_camera_that_disappears_is_found_again_and_its_clock_goes_on():
    with FakeCamera(media()) as camera, Fleet([plan("a", camera.url)]) as fleet:
        first = read(fleet, lambda logs: len(logs["a"].numbers) > 20)["a"]
        camera.disconnect_all()
        again = read(fleet, lambda logs: any(connected(h) for h in logs["a"].headers))["a"]
        assert fleet.cameras["a"].connections == 2
    assert "backoff" in seen(again.states)
    assert [h.sequence for h in again.headers if FrameFlag.CONNECTED in h.flags] != []
    times = [h.media_ns for h in first.headers + again.headers]
    assert times == sorted(times), "the media clock never runs back"
    gap_s = max(b - a for a, b in itertools.pairwise(times)) / 1e9
    assert 0.5 < gap_s < 30, "the pause between the connections is on the clock"


def test_a_stalled_camera_is_reopened_and_no_stale_frame_arrives():
    with FakeCamera(media()) as camera, Fleet([plan("a", camera.url)]) as fleet:
        read(fleet, lambda logs: len(logs["a"].numbers) > 10)
        camera.pause()
        stalled = read(fleet, lambda _: fleet.cameras["a"].state is CameraState.BACKOFF)["a"]
        assert "no frame for 1.0 s" in fleet.cameras["a"].detail
        camera.resume()
        read(fleet, lambda logs: len(logs["a"].numbers) > 10, limit_s=60)
        assert fleet.cameras["a"].connections >= 2
    arrivals = [h.monotonic_ns for h in stalled.headers]
    assert all(b - a < 0.9e9 for a, b in itertools.pairwise(arrivals)), "a frame came out of the stall"


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_a_refused_password_is_told_apart_and_tried_again_slowly(scheme):
    guard = Guard(Credentials("cam", "right"), scheme=scheme)
    with FakeCamera(media(), guard=guard) as camera:
        wrong = camera.url.replace("rtsp://", "rtsp://cam:wr0ng-one@")
        right = camera.url.replace("rtsp://", "rtsp://cam:right@")
        with Fleet([plan("wrong", wrong), plan("right", right)]) as fleet:
            log = read(
                fleet, lambda logs: bool(logs["right"].numbers) and fleet.cameras["wrong"].state.value == "auth_failed"
            )
            detail = fleet.cameras["wrong"].detail
            wait_s = fleet.cameras["wrong"].retry_in_s(time.monotonic())
            assert camera.counters.wrong_credentials == 1, "a second try could lock the account"
            assert fleet.cameras["wrong"].reconnects == {"auth_failed": 1}
    assert "password" in detail
    assert "wr0ng-one" not in detail
    assert wait_s > 55
    assert log["right"].numbers


def test_a_capture_process_that_hangs_is_ended_and_one_that_crashes_is_replaced():
    with FakeCamera(media()) as camera, Fleet([plan("a", camera.url), plan("b", camera.url)]) as fleet:
        read(fleet, lambda logs: all(len(log.numbers) > 5 for log in logs.values()))
        hung, crashed = fleet.cameras["a"].process, fleet.cameras["b"].process
        assert hung is not None
        assert crashed is not None
        os.kill(hung.pid, signal.SIGSTOP)
        os.kill(crashed.pid, signal.SIGSEGV)
        logs = read(
            fleet,
            lambda logs: (
                all(camera.connections == 2 for camera in fleet.cameras.values())
                and all(len(log.numbers) > 5 for log in logs.values())
            ),
        )
    details = " ".join(detail for log in logs.values() for _, detail in log.states)
    assert "hung and was ended" in details
    assert "SIGSEGV" in details


def test_back_off_doubles_to_half_a_minute_and_is_forgotten_after_a_healthy_while():
    backoff = Backoff(random.Random(1))
    waits = [backoff.after(healthy_s=0) for _ in range(8)]
    for wait, nominal in zip(waits, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert 0.75 * nominal <= wait <= nominal
    assert len(set(waits)) == 8, "no two cameras wait alike"
    assert backoff.after(healthy_s=9) > 20
    assert backoff.after(healthy_s=11) <= 1
    assert 60 <= backoff.after(healthy_s=0, slow=True) <= 75


def connected(header: FrameHeader) -> bool:
    return FrameFlag.CONNECTED in header.flags


def test_what_lay_in_the_ring_while_nobody_read_is_left_out():
    camera = CameraSupervisor(plan("a", "scene://", stall_s=2.0))
    camera.halt()
    now_ns = 100_000_000_000
    for age_s in (9.0, 2.1, 1.9):
        at_ns = now_ns - round(age_s * 1e9)
        camera.ring.commit(FrameHeader(0, at_ns, 0, at_ns, at_ns, 0, FrameFlag(0)))
    camera.tick(now_ns / 1e9)
    header = camera.ring.peek()
    assert header is not None
    assert (camera.ring.backlog, header.dropped, camera.ring.counts().overrun) == (1, 2, 2)
    camera.close()


def test_nothing_but_the_label_of_a_frame_goes_by_the_wall_clock(monkeypatch):
    def stepped() -> float:
        raise AssertionError("the wall clock may step at any moment")

    with Fleet([plan("a", "scene://?fps=30&width=160&height=120")]) as fleet:
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", stepped)
            patched.setattr(time, "time_ns", stepped)
            started_s = time.monotonic()
            while fleet.cameras["a"].ring.counts().written < 5 and time.monotonic() - started_s < 30:
                fleet.wait(0.1)
        assert fleet.cameras["a"].state is CameraState.RUNNING


def test_a_camera_that_comes_back_with_another_picture_size_says_so():
    port = free_port()
    small = list(pictures(30, 160, 120))
    other = PictureMedia(lambda: lambda number: small[number % 30], Encoding(160, 120, FPS))
    with Fleet([plan("a", f"rtsp://127.0.0.1:{port}/camera0")]) as fleet:
        with FakeCamera(media(), port=port):
            before = read(fleet, lambda logs: len(logs["a"].numbers) > 10)["a"]
        with FakeCamera(other, port=port):
            after = read(fleet, lambda logs: any(connected(h) for h in logs["a"].headers), limit_s=60)["a"]
    assert not any(FrameFlag.RESIZED in h.flags for h in before.headers)
    resized = [h for h in after.headers if FrameFlag.RESIZED in h.flags]
    assert [connected(h) for h in resized] == [True]


@pytest.mark.slow
def test_a_camera_whose_frames_nobody_takes_is_blocked_keeps_its_connection_and_then_shows_the_present():
    with FakeCamera(media()) as source, Fleet([plan("a", source.url, 10.0, stall_s=2.0)]) as fleet:
        camera = fleet.cameras["a"]
        read(fleet, lambda logs: len(logs["a"].headers) > 5)
        began_s = time.monotonic()
        while camera.state is not CameraState.BLOCKED or time.monotonic() - began_s < 5:
            assert time.monotonic() - began_s < 30
            fleet.wait(0.1)
        back_ns = time.monotonic_ns()
        log = read(fleet, lambda logs: camera.state is CameraState.RUNNING and len(logs["a"].headers) > 30)["a"]
        counts = camera.ring.counts()
        assert camera.connections == 1
    assert log.headers[0].dropped > 10
    assert all(back_ns - header.monotonic_ns < 3e9 for header in log.headers), "no frame of the time before"
    assert counts.due == counts.taken + counts.waiting + counts.thinned + counts.overrun
    assert counts.expired > 0


@pytest.mark.slow
def test_a_capture_process_gone_mad_is_ended_and_the_next_one_finds_a_sound_ring():
    with Fleet([plan("a", "scene://?fps=30&width=160&height=120")]) as fleet:
        camera = fleet.cameras["a"]
        read(fleet, lambda logs: len(logs["a"].headers) > 5)
        camera.ring._words[0] = 1 << 60  # as a decoder that was taken over could
        while camera.connections < 2 or camera.state is not CameraState.RUNNING:
            fleet.wait(0.1)
        assert camera.reconnects == {"crashed": 1}
        assert camera.ring.is_sound()
        read(fleet, lambda logs: len(logs["a"].headers) > 5)


def test_what_a_process_said_before_it_left_is_heard_though_it_never_read_a_credit():
    ours, theirs = Link.pair()
    ours.send_bytes(CREDIT)
    ended = Ended(EndReason.FINISHED, "all frames were read")
    theirs.send(encode(ended))
    theirs.close()
    process = CaptureProcess.__new__(CaptureProcess)
    process._link, process._secrets = ours, NO_SECRETS
    assert list(process.news()) == [ended]
    ours.close()


def test_a_file_whose_capture_process_dies_is_not_begun_again(tmp_path):
    video = write_video(tmp_path / "a.mp4", 300)
    with Fleet([plan("a", str(video), slots=4)]) as fleet:
        camera = fleet.cameras["a"]
        while not camera.ring.full:
            fleet.wait(0.5)
        assert camera.process is not None
        os.kill(camera.process.pid, signal.SIGSEGV)
        read(fleet, lambda _: fleet.over)
        assert (camera.state, camera.connections) == (CameraState.FAILED, 1)
        assert "SIGSEGV" in camera.detail


def test_many_cameras_that_hang_are_ended_together():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        with Fleet([plan(f"c{k}", address, open_timeout_s=30.0) for k in range(6)]) as fleet:
            opening = [silent.accept()[0] for _ in range(6) if not fleet.wait(1.0)]
            processes = [camera.process for camera in fleet.cameras.values()]
            started_s = time.monotonic()
            fleet.halt()
            assert time.monotonic() - started_s < 4
        assert all(process is not None for process in processes)
        for connection in opening:
            connection.close()


def test_what_was_said_while_nobody_listened_is_heard_before_anything_is_judged():
    """As while the models are opened, which may take minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/x"
    with Fleet([plan("a", url), plan("b", "scene://?fps=20", slots=4)]) as fleet:
        fleet.start()
        refused, running = fleet.cameras.values()
        assert refused.process._child.wait(20.0) == 0
        while not running.ring.full:
            assert select.select([running.bell], [], [], 20.0)[0]
            running.bell.heard()
        for camera in (refused, running):
            camera.tick(time.monotonic() + 60.0)
        assert refused.reconnects == {"unreachable": 1}
        assert running.state is CameraState.RUNNING, "its frames were not taken because nobody could"
        assert running.ring.backlog == 0, "they are old by now"
