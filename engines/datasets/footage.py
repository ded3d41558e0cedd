"""The frames of a video file that a model sees: the same ones, at the same times and size, as capture takes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engines.errors import UnreadableVideoError
from engines.media_clock import MediaClock
from engines.sampling_grid import sampling_cell
from engines.shrink import cropped, shrink

if TYPE_CHECKING:
    import cv2

Crop = tuple[float, float, float, float]

# as in capture: these containers hold an index of their frames; for others OpenCV only guesses
_COUNTED = (".mp4", ".mov", ".m4v")
_MISSING_FRAMES = 0.98
_NO_LOG = "-8"  # AV_LOG_QUIET of libavutil/log.h


@dataclass(frozen=True)
class SampledVideo:
    """Frames uint8 `[F, height, width, 3]` BGR and the media time of each, float64 `[F]` in seconds."""

    frames: npt.NDArray[np.uint8]
    times_s: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.times_s)


def sample(
    video: Path, rate_hz: float, size: tuple[int, int], *, crop: Crop | None = None, speed: float = 1.0
) -> SampledVideo:
    """All frames of a video on the sampling grid, at `size` (height, width); for videos that fit into memory.

    Raises:
        UnreadableVideoError: see `sampled_frames`.
    """
    parts = list(sampled_frames(video, rate_hz, size, crop=crop, speed=speed))
    frames, times_s = [part.frames for part in parts], [part.times_s for part in parts]
    return SampledVideo(np.concatenate(frames), np.concatenate(times_s))


def sampled_frames(
    video: Path,
    rate_hz: float,
    size: tuple[int, int],
    *,
    crop: Crop | None = None,
    speed: float = 1.0,
    batch: int = 64,
) -> Iterator[SampledVideo]:
    """The same in order, `batch` frames at a time, so that a video of any length takes little memory.

    `crop` is left, top, width and height as shares of the picture, as in the configuration. Played at `speed`, times
    are those of the faster (or slower) video: a frame at 3 s comes at 2 s when `speed` is 1.5.

    Raises:
        UnreadableVideoError: the file is missing, empty or no video, or, told at its end, it is cut off.
    """
    frames, times_s, held = np.empty((batch, *size, 3), np.uint8), np.empty(batch), 0
    with _opened(video) as capture:
        for time_s in _due(video, capture, rate_hz, speed):
            shrink(cropped(_picture(video, capture), crop), frames[held])
            times_s[held] = time_s
            held += 1
            if held == batch:
                yield SampledVideo(frames, times_s)
                frames, times_s, held = np.empty_like(frames), np.empty_like(times_s), 0
    if held:
        yield SampledVideo(frames[:held], times_s[:held])


def check_file(video: Path) -> None:
    """Refuse what can be told to be no video without decoding it; OpenCV would only say no.

    Raises:
        UnreadableVideoError: the file is missing, barred, a folder or empty.
    """
    try:
        size = video.stat().st_size
    except OSError as error:
        raise UnreadableVideoError(f"{video}: it cannot be opened: {(error.strerror or str(error)).lower()}") from error
    if video.is_dir():
        raise UnreadableVideoError(f"{video}: it is a folder, not a video file")
    if size == 0:
        raise UnreadableVideoError(f"{video}: the file is empty (0 bytes)")


def _due(video: Path, capture: cv2.VideoCapture, rate_hz: float, speed: float) -> Iterator[float]:
    """Walk over all frames and stop at the first of each sampling period; its time in seconds."""
    import cv2  # noqa: PLC0415 - only what sees pictures needs it

    clock, grabbed, last_cell = _clock(capture.get(cv2.CAP_PROP_FPS)), 0, None
    while capture.grab():
        grabbed += 1
        tick = clock.tick(capture.get(cv2.CAP_PROP_POS_MSEC), 0)
        time_s = tick.media_ns / 1e9 / speed
        cell = sampling_cell(time_s, rate_hz)
        if last_cell is None or cell > last_cell:
            last_cell = cell
            yield time_s
    _check_whole(video, grabbed, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))


def _clock(fps: float) -> MediaClock:
    return MediaClock(live=False, period_ns=round(1e9 / fps) if 1 <= fps <= 240 else None)


def _picture(video: Path, capture: cv2.VideoCapture) -> npt.NDArray[np.uint8]:
    ok, picture = capture.retrieve()
    if not ok:
        raise UnreadableVideoError(f"{video}: a frame cannot be decoded: copy or convert the file again")
    return np.asarray(picture, np.uint8)


def _check_whole(video: Path, grabbed: int, announced: int) -> None:
    if not grabbed:
        raise UnreadableVideoError(f"{video}: it holds no picture that can be decoded: copy or convert the file again")
    if grabbed == 1:
        raise UnreadableVideoError(f"{video}: it is a single picture and no video: give a video, or leave it out")
    if video.suffix.lower() in _COUNTED and grabbed < _MISSING_FRAMES * announced:
        raise UnreadableVideoError(
            f"{video}: the file is cut off or damaged, {grabbed} of {announced} frames can be read: copy it again"
        )


@contextmanager
def _opened(video: Path) -> Iterator[cv2.VideoCapture]:
    import cv2  # noqa: PLC0415 - only what sees pictures needs it

    check_file(video)
    # read once, when the first file is opened; without it FFmpeg writes its complaints on the user's terminal
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _NO_LOG)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        # one decoder thread, as in capture
        capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise UnreadableVideoError(f"{video}: it is not a video, or damaged at its start: copy or convert it again")
        yield capture
    finally:
        capture.release()
