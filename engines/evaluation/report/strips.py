"""A few pictures of a clip beside each other, small enough to lie inside a page."""

from __future__ import annotations

import base64
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.datasets.footage import sampled_frames
from engines.datasets.labelled import LabelledVideo
from engines.errors import UnreadableVideoError

PICTURES = 6
HEIGHT = 96
_JPEG_QUALITY = 72


def strip(video: LabelledVideo, start_s: float, end_s: float, rate_hz: float) -> str:
    """Pictures spread over `[start_s, end_s)` as a data URI; empty where the video can no longer be read."""
    import cv2  # noqa: PLC0415 - only what sees pictures needs it

    try:
        pictures = _pictures(video.path, start_s, end_s, rate_hz)
    except UnreadableVideoError:
        return ""
    if not pictures:
        return ""
    chosen = np.unique(np.linspace(0, len(pictures) - 1, PICTURES).round().astype(int))
    gap = np.full((HEIGHT, 3, 3), 128, np.uint8)
    row = [part for index in chosen for part in (pictures[index], gap)][:-1]
    ok, packed = cv2.imencode(".jpg", np.hstack(row), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(packed.tobytes()).decode()}" if ok else ""


def _pictures(path: Path, start_s: float, end_s: float, rate_hz: float) -> list[NDArray[np.uint8]]:
    found: list[NDArray[np.uint8]] = []
    for part in sampled_frames(path, rate_hz, (HEIGHT, _width(path)), batch=16):
        inside = (part.times_s >= start_s - 1e-6) & (part.times_s < end_s)
        found += list(part.frames[inside])
        if part.times_s[-1] >= end_s:
            break
    # of a long clip every n-th is enough
    return found[:: max(1, math.ceil(len(found) / 64))]


def _width(path: Path) -> int:
    """Such that the picture keeps its shape."""
    import cv2  # noqa: PLC0415 - only what sees pictures needs it

    capture = cv2.VideoCapture(str(path))
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    capture.release()
    return round(HEIGHT * width / height) if width and height else HEIGHT
