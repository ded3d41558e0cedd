"""Capture of real H.264 files: every due frame once and in order, and one sentence for every kind of bad file."""

import os

import av
import numpy as np
import pytest
from capturing import capture_files, plan, read
from videos import write_audio, write_changing_size, write_truncated, write_video

from pipeline.capture.fleet import Fleet
from pipeline.capture.frames import open_source
from pipeline.capture.protocol import Order
from pipeline.capture.ring import FrameFlag
from pipeline.capture.supervisor import CameraState

BOTH = pytest.mark.parametrize("capture", ["opencv", "pyav"])


def last_state(log):
    return log.states[-1][0], log.states[-1][1]


@BOTH
def test_every_frame_of_a_file_arrives_once_and_in_order(tmp_path, capture):
    video = write_video(tmp_path / "a.mp4", 150)
    log = capture_files(plan("a", str(video), slots=4, capture=capture))["a"]
    assert log.numbers == list(range(150))
    assert [h.sequence for h in log.headers] == list(range(150))
    assert last_state(log) == (CameraState.FINISHED, "all 150 frames were read")


@pytest.mark.parametrize(("rate_hz", "step"), [(5.0, 3), (7.5, 2), (15.0, 1), (1.0, 15)])
def test_sampling_follows_the_media_clock(tmp_path, rate_hz, step):
    video = write_video(tmp_path / "a.mkv", 90)
    log = capture_files(plan("a", str(video), rate_hz))["a"]
    assert log.numbers == list(range(0, 90, step))
    assert [round(h.media_ns / 1e9 * 15) for h in log.headers] == log.numbers
    assert all(h.dropped == 0 for h in log.headers)


def test_two_files_are_read_beside_each_other(tmp_path):
    first, second = write_video(tmp_path / "a.mp4", 45), write_video(tmp_path / "b.mp4", 75, width=640, height=360)
    logs = capture_files(plan("a", str(first)), plan("b", str(second)))
    assert logs["a"].numbers == list(range(45))
    assert logs["b"].numbers == list(range(75))


def test_the_crop_is_what_the_model_sees(tmp_path):
    video = write_video(tmp_path / "a.mp4", 15)
    whole = plan("a", str(video), 1.0)
    top = plan("a", str(video), 1.0, crop=(0.0, 0.0, 1.0, 0.125))
    pictures = []
    for one in (whole, top):
        with Fleet([one]) as fleet:
            while not fleet.cameras["a"].ring.backlog:
                fleet.wait(1.0)
            picture = np.zeros((one.height, one.width, 3), np.uint8)
            fleet.cameras["a"].ring.take(picture)
            pictures.append(picture)
    assert pictures[0][40:].mean() > 60, "below the bar code of frame 0 the whole picture is grey"
    assert pictures[1].mean() < 25, "the crop holds nothing but the black bar code"


@BOTH
def test_a_change_of_picture_size_is_noticed_on_the_very_frame(tmp_path, capture):
    video = write_changing_size(tmp_path / "changing.h264")
    with Fleet([plan("a", str(video), capture=capture)]) as fleet:
        log = read(fleet, lambda _: fleet.over and not fleet.cameras["a"].ring.backlog)["a"]
    resized = [h.sequence for h in log.headers if FrameFlag.RESIZED in h.flags]
    first = len(log.headers) - 90  # frames without timestamps at the start share one instant
    assert resized == [30 + first, 60 + first]


def test_both_back_ends_give_the_same_frames_at_the_same_times(tmp_path):
    video = write_video(tmp_path / "a.mkv", 45, width=318, height=238)
    plans = [plan(capture, str(video), 7.5, capture=capture) for capture in ("opencv", "pyav")]
    pictures = {"opencv": [], "pyav": []}
    with Fleet(plans) as fleet:
        while not fleet.over or any(camera.ring.backlog for camera in fleet.cameras.values()):
            fleet.wait(1.0)
            for name, camera in fleet.cameras.items():
                while (header := camera.ring.peek()) is not None:
                    picture = np.zeros((camera.plan.height, camera.plan.width, 3), np.uint8)
                    camera.ring.take(picture)
                    camera.free_slot()
                    pictures[name].append((header.media_ns, picture.tobytes()))
    assert len(pictures["opencv"]) == 23
    assert pictures["opencv"] == pictures["pyav"]


@pytest.mark.parametrize("capture", ["opencv", pytest.param("pyav", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: folder / "none.mp4", "no such file"),
        (lambda folder: folder, "folder"),
        (lambda folder: (folder / "zero.mp4", (folder / "zero.mp4").touch())[0], "empty"),
        (lambda folder: (folder / "text.mp4", (folder / "text.mp4").write_text("hello " * 99))[0], "video"),
        (lambda folder: write_audio(folder / "sound.mp4"), "no video"),
        (lambda folder: write_truncated(folder / "cut.mp4"), "cut off or damaged"),
    ],
    ids=["missing", "folder", "zero bytes", "no video file", "audio only", "truncated"],
)
def test_a_bad_file_is_one_sentence_and_is_not_tried_again(tmp_path, capture, make, expected):
    with Fleet([plan("a", str(make(tmp_path)), capture=capture)]) as fleet:
        log = read(fleet, lambda _: fleet.over)["a"]
        state, sentence = last_state(log) if log.states else (None, "")
        camera = fleet.cameras["a"]
        assert camera.state is CameraState.FAILED, (state, sentence)
        assert expected in camera.detail
        assert "\n" not in camera.detail
        assert camera.connections == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.avi", "mjpeg", "yuvj420p"),
        ("b.avi", "mjpeg", "yuvj422p"),
        ("c.mkv", "libx265", "yuv420p10le"),
        ("d.mkv", "libvpx-vp9", "yuv420p"),
        ("e.mp4", "libx264", "yuv444p"),
    ],
)
def test_both_back_ends_turn_any_kind_of_pixels_into_the_same_picture(tmp_path, name, codec, pixels):
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=15)
        stream.width, stream.height, stream.pix_fmt = 318, 238, pixels
        for number in range(5):
            noise = np.random.default_rng(number).integers(0, 256, (238, 318, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, "bgr24").reformat(format=pixels)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    pictures = {capture: list(_pictures(tmp_path / name, capture)) for capture in ("opencv", "pyav")}
    assert len(pictures["opencv"]) == 5
    assert pictures["opencv"] == pictures["pyav"]


def _pictures(video, capture):
    log_in, log_out = os.pipe()
    sizes = {"slots": 2, "height": 2, "width": 2, "rate_hz": 1.0, "open_timeout_ms": 3000, "read_timeout_ms": 1000}
    order = Order("file", str(video), ring_fd=-1, log_fd=log_in, rope_fd=-1, capture=capture, **sizes)
    source = open_source(order)
    while source.grab():
        yield source.position_ms(), source.retrieve().tobytes()
    source.release()
    os.close(log_in)
    os.close(log_out)
