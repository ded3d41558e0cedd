"""Frames by OpenCV: cameras, streams and files through its FFmpeg, devices through V4L2."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.errors import SourceError
from pipeline.capture.decoder_log import LOG_LEVEL, NO_NEWS, DecoderLog, DecoderNews
from pipeline.capture.limits import check_size, ffmpeg_address, ffmpeg_options, read_ahead
from pipeline.capture.refusal import refusal

if TYPE_CHECKING:
    from pipeline.capture.protocol import Order
    from pipeline.capture.ring import Picture

_MOST_FAILURES = 1000  # in a row, of a file; each is a packet that could not be decoded


class OpenCvSource:
    """cv2.VideoCapture over FFmpeg (or V4L2 for a device), with both timeouts set and one decoder thread."""

    def __init__(self, order: Order) -> None:
        import cv2  # noqa: PLC0415 - a scene needs no decoder

        cv2.setNumThreads(1)
        self._log = DecoderLog(order.log_fd)
        self._news, self._damaged_now = NO_NEWS, False
        self._cv2 = cv2
        if order.kind == "device":
            self._capture = cv2.VideoCapture(int(order.address), cv2.CAP_V4L2)
        else:
            options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, order.open_timeout_ms]
            options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, order.read_timeout_ms, cv2.CAP_PROP_N_THREADS, 1]
            with _environment(order):
                self._capture = cv2.VideoCapture(ffmpeg_address(order), cv2.CAP_FFMPEG, options)
        if not self._capture.isOpened():
            if self._log.read().refused:
                raise refusal(order.address)
            raise SourceError("it does not open as video")
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        check_size(self.width, self.height)
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.frame_count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.read_ahead = read_ahead(order, self._codec())
        self._is_file = order.kind == "file" or (order.kind == "http" and self.frame_count > 0)
        # FFmpeg stamps them as if they came at 25 a second
        self._untimed = order.kind == "http" and not self._is_file and self._codec() == "MJPG"
        self._opened_s = time.monotonic()
        self._picture: Any = None

    def grab(self) -> bool:
        """Demux and decode the next frame without converting it.

        In a file, damage is passed over; of a live source it is told by False, since it may be the end as well.
        """
        for _ in range(_MOST_FAILURES if self._is_file else 1):
            if self._capture.grab():
                return True
            self._heed_log()
            if not self._damaged_now:
                return False
        return False

    def position_ms(self) -> float:
        """CAP_PROP_POS_MSEC of the grabbed frame; where the stream has no times, the time since it was opened."""
        if self._untimed:
            return 1e3 * (time.monotonic() - self._opened_s)
        return self._capture.get(self._cv2.CAP_PROP_POS_MSEC)

    def is_intra(self) -> bool:
        """Whether FFmpeg calls it an I picture."""
        return int(self._capture.get(self._cv2.CAP_PROP_FRAME_TYPE)) == ord("I")

    def retrieve(self) -> Picture:
        """Convert the grabbed frame to BGR, into the same memory each time while the size stays."""
        ok, self._picture = self._capture.retrieve(self._picture)
        if not ok:
            raise SourceError("a frame could not be decoded")
        return np.asarray(self._picture, np.uint8)

    def news(self) -> DecoderNews:
        """What FFmpeg wrote into its log. Raises UnsupportedSourceError where the pictures have become too large."""
        self._heed_log()
        news, self._news = self._news, NO_NEWS
        return news

    def release(self) -> None:
        """Close the stream; an RTSP camera is told."""
        self._capture.release()

    def _codec(self) -> str:
        """Four letters."""
        return int(self._capture.get(self._cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True).decode("latin-1")

    def _heed_log(self) -> None:
        """Add what is new in the log to what `news` has not told yet."""
        new, told = self._log.read(), self._news
        self._damaged_now = new.errors > 0
        if new.size is not None:
            check_size(*new.size)
        if new is not NO_NEWS:
            self._news = DecoderNews(told.errors + new.errors, new.size or told.size, told.refused or new.refused)


@contextmanager
def _environment(order: Order) -> Iterator[None]:
    """FFmpeg's options for one open; they are global to a process, and whoever opens next must not inherit them."""
    options = "|".join(f"{name};{value}" for name, value in ffmpeg_options(order).items())
    own = {"OPENCV_FFMPEG_CAPTURE_OPTIONS": options, "OPENCV_FFMPEG_LOGLEVEL": LOG_LEVEL}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
