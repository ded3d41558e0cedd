"""A camera's media that decodes a file of any kind and encodes it again as H.264 without B frames."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

from engines.errors import SourceError
from pipeline.fakecam.encoder import Encoder
from pipeline.fakecam.media import Encoding, StreamFormat
from pipeline.fakecam.video_file import VideoFile, laps, opened, seek
from pipeline.rtsp.h264 import CLOCK_HZ, AccessUnit

Shown = tuple[int, Any]  # media time in ticks of 90 kHz, decoded frame


class TranscodedMedia:
    """A file's pictures, scaled to the encoding's size.

    With `resample` pictures are dropped or repeated to the encoding's rate; without, they keep their own times.
    """

    def __init__(self, file: VideoFile, encoding: Encoding, *, loop: bool, resample: bool) -> None:
        self._file, self._encoding, self._loop, self._resample = file, encoding, loop, resample
        self._format = Encoder(encoding).format

    @property
    def format(self) -> StreamFormat:
        """Parameter sets and size."""
        return self._format

    @property
    def duration_s(self) -> float | None:
        """Length in seconds; None where the file loops."""
        return None if self._loop else self._file.duration / CLOCK_HZ

    def play(self, start_s: float = 0.0) -> TranscodedPlayback:
        """Start at the first picture at or after `start_s`."""
        shown = _shown(self._file, round(start_s * CLOCK_HZ), loop=self._loop)
        if self._resample:
            shown = at_rate(shown, self._encoding.frame_rate, self._file.duration)
        return TranscodedPlayback(shown, Encoder(self._encoding))


class TranscodedPlayback:
    """Decodes and encodes one picture a read."""

    def __init__(self, shown: Iterator[Shown], encoder: Encoder) -> None:
        self._shown, self._encoder = shown, encoder
        self._last = -1

    def read(self, *, fresh: bool = False) -> list[AccessUnit]:
        """The next picture, none after the last."""
        for ticks, frame in self._shown:
            self._last = max(ticks, self._last + 1)  # x264 wants rising times, also from a file that repeats one
            return [self._encoder.encode(frame, self._last, fresh=fresh)]
        return []


def at_rate(shown: Iterator[Shown], rate: float, ends: int) -> Iterator[Shown]:
    """At each `k / rate` seconds, the picture that is on show then; the last one until `ends`, in ticks of 90 kHz."""
    held: Any = None
    index = 0
    for ticks, frame in shown:
        if held is None:
            index = ceil(ticks * rate / CLOCK_HZ - 1e-6)
        while held is not None and round(index * CLOCK_HZ / rate) < ticks:
            yield round(index * CLOCK_HZ / rate), held
            index += 1
        held = frame
    while held is not None and round(index * CLOCK_HZ / rate) < ends:
        yield round(index * CLOCK_HZ / rate), held
        index += 1


def _shown(file: VideoFile, start: int, *, loop: bool) -> Iterator[Shown]:
    for begins, offset in laps(file, start, loop=loop):
        empty = True
        for ticks, frame in _lap(file, offset):
            empty = False
            yield begins + ticks, frame
        if empty and not offset:
            raise SourceError(f"{file.path}: no picture of the file can be decoded")


def _lap(file: VideoFile, offset: int) -> Iterator[Shown]:
    with opened(file.path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        seek(container, file, offset)
        for index, frame in enumerate(container.decode(stream)):
            ticks = file.ticks(frame.pts, stream.time_base, index)
            if ticks >= offset:
                yield ticks, frame
