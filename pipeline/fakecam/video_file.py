"""Facts about a video file that decide how a camera can serve it, found by reading its packets without decoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from engines.errors import SourceError, UnsupportedSourceError
from pipeline.rtsp.h264 import CLOCK_HZ


@dataclass(frozen=True)
class VideoFile:
    """A video file after one pass over its packets; times in ticks of 90 kHz from the first picture shown."""

    path: Path
    codec: str
    width: int
    height: int
    frame_rate: float  # frames/s on average
    first_pts: int  # in units of the file's time base
    timed: bool  # False for raw streams, whose packets carry no time
    duration: int  # ticks, the last picture's own length included
    reordered: bool  # pictures are not stored in the order shown (B frames), or share a time

    def ticks(self, pts: int | None, time_base: Fraction, index: int) -> int:
        """Media time of a picture: its own time stamp, or from its index where the file has none."""
        if pts is None or not self.timed:
            return round(index * CLOCK_HZ / self.frame_rate)
        return round((pts - self.first_pts) * time_base * CLOCK_HZ)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file as a PyAV container. Raises SourceError where it is missing, no video or damaged."""
    if not path.is_file():
        raise SourceError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; name a video file or scene://")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UnsupportedSourceError(f"{path}: the file has no video track")
            yield container
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(f"{path}: the file cannot be read as video: {error.strerror}") from error


def examine(path: Path) -> VideoFile:
    """Read the packets of a file once. Raises SourceError as `opened` does."""
    with opened(path) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        found = [(packet.pts, packet.duration or 0) for packet in container.demux(stream) if packet.size]
        context = stream.codec_context
        if not found or not context.width:
            raise UnsupportedSourceError(f"{path}: the video track is empty")
        times = [pts for pts, _ in found if pts is not None]
        timed = len(times) == len(found)
        rising = timed and all(a < b for a, b in pairwise(times))
        first = min(times) if timed else 0
        length = round(len(found) * CLOCK_HZ / rate)
        if timed:
            last, own = max(found)
            own_s = float(own * stream.time_base) or 1 / rate
            length = round((float((last - first) * stream.time_base) + own_s) * CLOCK_HZ)
        return VideoFile(
            path=path,
            codec=context.name,
            width=context.width,
            height=context.height,
            frame_rate=rate,
            first_pts=first,
            timed=timed,
            duration=length,
            reordered=not rising and (timed or context.has_b_frames),
        )


def laps(file: VideoFile, start: int, *, loop: bool) -> Iterator[tuple[int, int]]:
    """Runs over the file from media time `start`: `(time at which the run begins, time in the file to begin at)`."""
    if not loop:
        yield 0, start
        return
    lap, offset = divmod(start, file.duration)
    while True:
        yield lap * file.duration, offset
        lap, offset = lap + 1, 0


def seek(container: Any, file: VideoFile, offset: int) -> None:
    """Go to the last key picture at or before a time in the file, where the file can tell times."""
    stream = container.streams.video[0]
    if offset and file.timed:
        container.seek(file.first_pts + int(offset / CLOCK_HZ / stream.time_base), stream=stream)
