"""A camera's media made of pictures that a function draws, such as the test scene."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.fakecam.encoder import Encoder
from pipeline.fakecam.media import Encoding, StreamFormat
from pipeline.rtsp.h264 import CLOCK_HZ, AccessUnit

Draw = Callable[[int], NDArray[np.uint8]]


class PictureMedia:
    """Picture `i` is shown at `i / frame_rate` seconds.

    Args:
        make: called once for each playback; returns the function from a picture's index to its pixels, uint8
            `[height, width, 3]` BGR. A playback calls it with rising indices.
        encoding: size, rate and quality.
        frames: how many pictures there are; None for no end.
    """

    def __init__(self, make: Callable[[], Draw], encoding: Encoding, *, frames: int | None = None) -> None:
        self._make, self._encoding, self._frames = make, encoding, frames
        self._format = Encoder(encoding).format

    @property
    def format(self) -> StreamFormat:
        """Parameter sets and size."""
        return self._format

    @property
    def duration_s(self) -> float | None:
        """Length in seconds; None where there is no end."""
        return None if self._frames is None else self._frames / self._encoding.frame_rate

    def play(self, start_s: float = 0.0) -> PicturePlayback:
        """Start at the first picture at or after `start_s`."""
        first = ceil(start_s * self._encoding.frame_rate - 1e-6)
        return PicturePlayback(self._make(), self._encoding, first, self._frames)


class PicturePlayback:
    """Draws and encodes one picture a read."""

    def __init__(self, draw: Draw, encoding: Encoding, first: int, frames: int | None) -> None:
        self._draw, self._rate, self._next, self._frames = draw, encoding.frame_rate, first, frames
        self._encoder = Encoder(encoding)

    def read(self, *, fresh: bool = False) -> list[AccessUnit]:
        """The next picture, none after the last."""
        if self._frames is not None and self._next >= self._frames:
            return []
        frame = av.VideoFrame.from_ndarray(self._draw(self._next), format="bgr24")
        timestamp = round(self._next * CLOCK_HZ / self._rate)
        self._next += 1
        return [self._encoder.encode(frame, timestamp, fresh=fresh)]
