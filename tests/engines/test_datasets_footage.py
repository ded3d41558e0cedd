"""Decoding for training: the frames, times and pixels that capture takes of the same file, and one sentence if bad."""

import subprocess
import sys

import numpy as np
import pytest
from capturing import plan
from videos import FPS, write_audio, write_changing_size, write_truncated, write_video

from engines.datasets.footage import sample, sampled_frames
from engines.errors import UnreadableVideoError
from pipeline.capture.fleet import Fleet


def captured(path, rate_hz, **options):
    """Frames and media times as the inference loop gets them from the capture process."""
    order = plan("a", str(path), rate_hz, **options)
    frames, times = [], []
    with Fleet([order]) as fleet:
        camera = fleet.cameras["a"]
        while not fleet.over or camera.ring.backlog:
            fleet.wait(0.05)
            while (header := camera.ring.peek()) is not None:
                picture = np.zeros((order.height, order.width, 3), np.uint8)
                camera.ring.take(picture)
                camera.free_slot()
                frames.append(picture)
                times.append(header.media_ns / 1e9)
    return np.stack(frames), np.array(times), (order.height, order.width)


@pytest.mark.parametrize(
    ("name", "rate_hz", "crop"),
    [
        ("a.mp4", 10.0, None),
        ("a.mp4", 4.0, (0.1, 0.25, 0.5, 0.7)),
        ("a.mkv", 8.0, None),
        ("a.h264", 6.0, None),  # no time stamps: timed by the nominal rate
        ("changing.h264", 15.0, None),
    ],
)
def test_training_takes_the_frames_that_serving_takes(tmp_path, name, rate_hz, crop):
    make = write_changing_size if name.startswith("changing") else write_video
    path = make(tmp_path / name)
    frames, times_s, size = captured(path, rate_hz, crop=crop)
    sampled = sample(path, rate_hz, size, crop=crop)
    np.testing.assert_array_equal(sampled.times_s, times_s)
    np.testing.assert_array_equal(sampled.frames, frames)


def test_a_video_comes_in_batches(tmp_path):
    path = write_video(tmp_path / "a.mp4", 50)
    parts = list(sampled_frames(path, FPS, (24, 32), batch=16))
    assert [len(part) for part in parts] == [16, 16, 16, 2]
    whole = sample(path, FPS, (24, 32))
    np.testing.assert_array_equal(np.concatenate([part.frames for part in parts]), whole.frames)
    assert len({part.frames.ctypes.data for part in parts}) == 4, "each batch keeps its own pictures"
    np.testing.assert_allclose(whole.times_s, np.arange(50) / FPS, atol=2e-3)


def test_a_faster_video_has_fewer_frames_and_ends_sooner(tmp_path):
    path = write_video(tmp_path / "a.mp4", 60)
    plain, fast, slow = (sample(path, 5.0, (24, 32), speed=speed) for speed in (1.0, 1.5, 0.5))
    assert [len(plain), len(fast), len(slow)] == [20, 14, 40]
    assert fast.times_s[-1] == pytest.approx(plain.times_s[-1] / 1.5, abs=0.2)
    assert np.all(np.diff(slow.times_s) == pytest.approx(0.2, abs=0.1))


BAD = {
    "missing": (lambda folder: folder / "none.mp4", "no such file"),
    "folder": (lambda folder: folder, "folder"),
    "zero bytes": (lambda folder: (folder / "zero.mp4", (folder / "zero.mp4").touch())[0], "empty"),
    "text": (lambda folder: (folder / "t.mp4", (folder / "t.mp4").write_text("hello " * 99))[0], "not a video"),
    "audio only": (lambda folder: write_audio(folder / "sound.mp4"), "not a video"),
    "one picture": (lambda folder: write_video(folder / "one.mp4", 1), "single picture and no video"),
    "truncated": (lambda folder: write_truncated(folder / "cut.mp4"), r"cut off or damaged, \d+ of 60 frames"),
}


@pytest.mark.parametrize(("make", "expected"), BAD.values(), ids=BAD)
def test_a_bad_video_is_one_sentence(tmp_path, make, expected):
    path = make(tmp_path)
    with pytest.raises(UnreadableVideoError, match=expected) as error:
        sample(path, 10.0, (24, 32))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_decoder_does_not_write_on_the_terminal(tmp_path):
    paths = [make(tmp_path) for make, _ in BAD.values()]
    code = """
import sys
from pathlib import Path
from engines.datasets.footage import sample
from engines.errors import UnreadableVideoError
refused = 0
for path in sys.argv[1:]:
    try:
        sample(Path(path), 10.0, (24, 32))
    except UnreadableVideoError:
        refused += 1
print(refused)
"""
    ran = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    assert (ran.stdout.strip(), ran.stderr) == (str(len(paths)), "")
