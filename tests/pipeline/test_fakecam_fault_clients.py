"""Faults of the camera as FFmpeg shows them: through PyAV, and through OpenCV, which hides some."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import barcode
import pytest
from numbered import numbered_media

from pipeline.fakecam import FakeCamera
from pipeline.fakecam.faults import Corrupt, Drop, Fault, Freeze, Jump, Resize, Stall, Wrap

pytestmark = pytest.mark.slow

STEP = 1500  # ticks of 90 kHz between pictures


@dataclass(frozen=True)
class Shown:
    number: int
    pts: int | None
    width: int
    corrupt: bool
    pixels: bytes


def shown(camera: FakeCamera, fault: Fault, *, begins: int, ends: int) -> Iterator[Shown | None]:
    """What PyAV decodes, with a fault from one picture to another; None for a packet that cannot be decoded."""
    count = 0
    with av.open(camera.url, options={"rtsp_transport": "tcp"}, timeout=5.0) as reader:
        for packet in reader.demux(video=0):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                yield None
                continue
            for frame in frames:
                pixels = frame.to_ndarray(format="bgr24")
                yield Shown(barcode.read(pixels), frame.pts, frame.width, frame.is_corrupt, pixels.tobytes())
                count += 1
                if count == begins:
                    camera.inject(fault)
                if count == ends:
                    camera.clear()
                if count == ends + 70:
                    return


def steps(found: list[Shown]) -> list[int]:
    return [b.pts - a.pts for a, b in pairwise(found) if a.pts is not None]


@pytest.fixture
def camera() -> Iterator[FakeCamera]:
    with FakeCamera(numbered_media(), start="on_connect") as camera:
        yield camera


def test_pyav_sees_the_size_change_on_the_frame(camera: FakeCamera) -> None:
    found = list(shown(camera, Resize(320, 240), begins=30, ends=60))
    assert [one.number for one in found] == list(range(130))
    assert sorted({one.width for one in found}) == [160, 320]
    assert set(steps(found)) == {STEP}


@pytest.mark.parametrize("by_s", [3600.0, -30.0])
def test_pyav_sees_the_clock_jump_once(camera: FakeCamera, by_s: float) -> None:
    found = list(shown(camera, Jump(by_s), begins=30, ends=31))
    assert sorted(set(steps(found))) == sorted({STEP, STEP + int(by_s * 90000)})
    assert steps(found).count(STEP) == len(steps(found)) - 1


def test_wrap_is_invisible(camera: FakeCamera) -> None:
    camera.inject(Wrap(1.0))
    assert set(steps(list(shown(camera, Wrap(1.0), begins=1, ends=60)))) == {STEP}


def test_frozen_pictures_are_equal_and_end(camera: FakeCamera) -> None:
    found = list(shown(camera, Freeze(), begins=30, ends=80))
    assert len({one.pixels for one in found[35:75]}) == 1
    assert [one.number for one in found[-20:]] == list(range(130, 150))


@pytest.mark.parametrize("fault", [Corrupt(0.5), Drop(0.3)], ids=["corrupt", "drop"])
def test_damage_shows_and_the_next_idr_picture_heals_it(camera: FakeCamera, fault: Fault) -> None:
    found = list(shown(camera, fault, begins=30, ends=80))
    good = [one for one in found if one]
    wrong = [one for at, one in enumerate(good) if one.number != good[0].number + at or one.corrupt]
    assert None in found or wrong
    last = [one.number for one in good[-8:]]
    assert last == list(range(last[0], last[0] + 8))


READER = """
import sys, time
import barcode, cv2, json
properties = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 500, cv2.CAP_PROP_N_THREADS, 1]
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG, properties)
found = []
while len(found) < int(sys.argv[2]):
    began = time.monotonic()
    ok, picture = capture.read()
    found.append([ok, time.monotonic() - began, picture.shape[1] if ok else 0, barcode.read(picture) if ok else -1])
    if len(found) == 20:
        print("ready", flush=True)
    if not ok:
        break
print(json.dumps(found), flush=True)
"""


def read_with_opencv(camera: FakeCamera, fault: Fault, count: int) -> list[tuple[bool, float, int, int]]:
    environment = dict(os.environ, OPENCV_FFMPEG_CAPTURE_OPTIONS="rtsp_transport;tcp")
    environment["PYTHONPATH"] = str(Path(barcode.__file__).parent)
    command = [sys.executable, "-c", READER, camera.url, str(count)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"ready\n"
        camera.inject(fault)
        return json.loads(reader.stdout.readline())


def test_opencv_hides_a_change_of_size(camera: FakeCamera) -> None:
    found = read_with_opencv(camera, Resize(320, 240), 80)
    assert {width for _, _, width, _ in found} == {160}
    assert [number for *_, number in found] == list(range(80))


def test_opencv_gives_up_on_a_stall(camera: FakeCamera) -> None:
    found = read_with_opencv(camera, Stall(), 400)
    assert found[-1][0] is False
    assert found[-1][1] >= 0.4
