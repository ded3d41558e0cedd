"""The camera read by clients that others wrote: OpenCV, PyAV and aio-rtsp-toolkit."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import aio_rtsp_toolkit
import av
import barcode
import pytest
from videos import FPS, write_video

from engines.scene import Scene
from pipeline.fakecam import FakeCamera, open_media
from pipeline.rtsp.auth import Credentials, Guard

FRAMES = 45

# OpenCV takes FFmpeg's options from the environment of the whole process, hence a process for each reading
READER = """
import sys
import barcode, cv2, json
properties = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 8000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 8000, cv2.CAP_PROP_N_THREADS, 1]
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG, properties)
found = []
while True:
    ok, picture = capture.read()
    if not ok:
        break
    found.append([barcode.read(picture), capture.get(cv2.CAP_PROP_POS_MSEC)])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "numbered.mp4", FRAMES)


def read_with_opencv(url: str, transport: str) -> list[tuple[int, float]]:
    environment = dict(os.environ, OPENCV_FFMPEG_CAPTURE_OPTIONS=f"rtsp_transport;{transport}")
    environment["PYTHONPATH"] = str(Path(barcode.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", READER, url], env=environment, capture_output=True, check=True, timeout=60
    )
    return [(number, milliseconds) for number, milliseconds in json.loads(done.stdout)]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_opencv_sees_every_frame_once_and_in_order(video: Path, transport: str) -> None:
    (media,) = open_media(str(video), loop=False)
    with FakeCamera(media, start="on_connect") as camera:
        found = read_with_opencv(camera.url, transport)
    assert [number for number, _ in found] == list(range(FRAMES))
    # FFmpeg gives its first RTSP packet no time, whatever the server; its clock starts with the second
    times = [milliseconds for _, milliseconds in found[1:]]
    assert all(b - a == pytest.approx(1000 / FPS, abs=0.1) for a, b in pairwise(times))


def test_ffmpeg_sees_a_loop_go_on_in_time(video: Path) -> None:
    (media,) = open_media(str(video), loop=True)
    with (
        FakeCamera(media, start="on_connect") as camera,
        av.open(camera.url, options={"rtsp_transport": "tcp"}) as reader,
    ):
        found = []
        for frame in reader.decode(video=0):
            found.append((barcode.read(frame.to_ndarray(format="bgr24")), frame.pts))
            if len(found) == FRAMES + 5:
                break
    assert [number for number, _ in found] == [*range(FRAMES), *range(5)]
    assert {b - a for (_, a), (_, b) in pairwise(found[1:])} == {90000 // FPS}


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_ffmpeg_proves_the_password(video: Path, scheme: str) -> None:
    guard = Guard(Credentials("admin", "s3cret/+"), scheme)
    (media,) = open_media(str(video))
    with FakeCamera(media, start="on_connect", guard=guard) as camera:
        with av.open(camera.url.replace("://", "://admin:s3cret%2F%2B@"), options={"rtsp_transport": "tcp"}) as reader:
            assert barcode.read(next(reader.decode(video=0)).to_ndarray(format="bgr24")) == 0
        with pytest.raises(av.error.HTTPUnauthorizedError):
            av.open(camera.url.replace("://", "://admin:wrong@"), options={"rtsp_transport": "tcp"})


def test_aio_rtsp_toolkit_gets_every_access_unit(video: Path) -> None:
    async def collect(url: str) -> list[int]:
        decoder, found, stop = av.CodecContext.create("h264", "r"), [], asyncio.Event()
        async with aio_rtsp_toolkit.RtspSession(url, timeout=5, log_type=0) as session:
            async for event in session.iter_events(stop):
                if isinstance(event, aio_rtsp_toolkit.VideoFrameEvent):
                    # it hands parameter sets over as frames of their own, so the decoder's parser joins them
                    packets = decoder.parse(bytes(event.frame.data))
                    frames = [frame for packet in packets for frame in decoder.decode(packet)]
                    found += [barcode.read(frame.to_ndarray(format="bgr24")) for frame in frames]
                    if len(found) >= 20:
                        stop.set()
        return found

    (media,) = open_media(str(video))
    with FakeCamera(media, start="on_connect") as camera:
        found = asyncio.run(collect(camera.url))
    assert found[:20] == list(range(20))


def test_scene_arrives_at_scene_time_zero() -> None:
    (media,) = open_media("scene://?seed=5", size=(320, 180), frame_rate=30.0)
    scene = Scene(5, 320, 180, 30.0)
    with (
        FakeCamera(media, start="on_connect") as camera,
        av.open(camera.url, options={"rtsp_transport": "tcp"}) as reader,
    ):
        for index, frame in enumerate(reader.decode(video=0)):
            shown, drawn = frame.to_ndarray(format="bgr24").astype(int), scene.frame(index).astype(int)
            assert abs(shown - drawn).mean() < 8
            if index == 5:
                break
