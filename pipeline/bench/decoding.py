"""What a frame costs the decoder, read flat out from the file: grab, retrieve, resize."""

from __future__ import annotations

import time

import msgspec
import numpy as np

from engines.shrink import shrink
from pipeline.bench.video import Video

_EVERY = 3  # as in life, most frames are grabbed and never looked at


class DecodeCost(msgspec.Struct, frozen=True):
    """Milliseconds of CPU time of one thread, each the mean over whole passes of the file."""

    grab_ms: float
    retrieve_ms: float
    resize_ms: float


def measure_decoding(video: Video, size: tuple[int, int], seconds: float) -> DecodeCost:
    """Read the file until `seconds` have passed, at least once; `size` is (height, width) of the model's picture."""
    slot = np.empty((*size, 3), np.uint8)
    sums, frames, looked = np.zeros(3), 0, 0
    until_s = time.monotonic() + seconds
    while not frames or time.monotonic() < until_s:
        more, n, m = _read(video, slot)
        sums, frames, looked = sums + more, frames + n, looked + m
    grab, retrieve, resize = (1e3 * sums / (frames, looked, looked)).tolist()
    return DecodeCost(grab, retrieve, resize)


def _read(video: Video, slot: np.ndarray) -> tuple[np.ndarray, int, int]:
    """One pass: seconds of CPU of the three stages, frames grabbed, frames looked at."""
    import cv2  # noqa: PLC0415 - only capture decodes

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(video.path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    clock = time.thread_time  # other processes do not count
    sums, frames, looked = np.zeros(3), 0, 0
    while True:
        marks = [clock()]
        if not capture.grab():
            break
        marks.append(clock())
        frames += 1
        if frames % _EVERY == 0:
            picture = np.asarray(capture.retrieve()[1], np.uint8)
            marks.append(clock())
            shrink(picture, slot)
            marks.append(clock())
            looked += 1
        sums[: len(marks) - 1] += np.diff(marks)
    capture.release()
    return sums, frames, looked
