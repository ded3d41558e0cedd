"""Small real videos, made with PyAV: H.264 with a bar code in every frame, and files that are wrong in known ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import barcode
import numpy as np

FPS = 15


def pictures(frames: int, width: int, height: int) -> Iterator[np.ndarray]:
    """Grey pictures with a moving field, each with its number as a bar code."""
    for number in range(frames):
        picture = np.full((height, width, 3), 90, np.uint8)
        left = number * 7 % max(1, width - 40)
        picture[height // 2 : height // 2 + 40, left : left + 40] = (30, 160, 220)
        yield barcode.draw(picture, number)


def write_video(
    path: Path, frames: int = 60, *, width: int = 320, height: int = 240, still_from: int | None = None, **options: str
) -> Path:
    """An H.264 file of numbered frames at 15 frames a second; the container follows from the file's name.

    From frame `still_from` on it shows that frame.
    """
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": "15", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, picture in enumerate(pictures(frames, width, height)):
            if still_from is None or number <= still_from:
                shown = av.VideoFrame.from_ndarray(picture, "bgr24")
            shown.pts = number
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
    return path


def write_audio(path: Path) -> Path:
    """A second of silence without any picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_truncated(path: Path) -> Path:
    """A file that says it holds 60 frames and breaks off in the middle (its index stands at the front)."""
    whole = write_video(path.with_name("whole.mp4"), 60, movflags="faststart").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def write_changing_size(path: Path, frames: int = 30) -> Path:
    """A stream that goes from 640x360 to 320x240 after so many frames, and back after as many more."""
    large = write_video(path.with_name("large.h264"), frames, width=640, height=360).read_bytes()
    small = write_video(path.with_name("small.h264"), frames, width=320, height=240).read_bytes()
    path.write_bytes(large + small + large)
    return path
