"""The decoder's own words: FFmpeg's log on the capture process's output, the only place where OpenCV shows damage."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from dataclasses import dataclass

# OPENCV_FFMPEG_LOGLEVEL: verbose, for the line that tells a new picture size
LOG_LEVEL = "40"

_SIZE = re.compile(rb"Reinit context to (\d+)x(\d+)")
_ERROR = re.compile(rb"\[OPENCV:FFMPEG:(?:0?8|16)\]|\] RTP: missed \d")
_REFUSED = re.compile(rb"(?:failed:|HTTP error) 40[13]\b")
_READ_AT_ONCE = 65536
_IONBF = 2


def write_through() -> None:
    """Switch off the C library's buffer of stdout, where OpenCV's FFmpeg log goes, so that each line comes at once."""
    libc = ctypes.CDLL(None)
    stdout = ctypes.c_void_p.in_dll(libc, "stdout" if sys.platform == "linux" else "__stdoutp")
    libc.setvbuf(stdout, None, _IONBF, 0)


@dataclass(frozen=True)
class DecoderNews:
    """What the log said since it was last read: number of error lines, and the newest coded picture size, if named.

    The coded size is that of the codec's blocks: a 640x360 picture is coded as 640x368.
    """

    errors: int = 0
    size: tuple[int, int] | None = None
    refused: bool = False  # the camera wants other credentials


NO_NEWS = DecoderNews()


class DecoderLog:
    """Reads the pipe behind this process's stdout and stderr without ever waiting for it.

    FFmpeg writes within `grab()`, so what is read after a `grab()` belongs to that very frame. The pipe's writing end
    does not block either: a flood of errors may lose lines but never stops the decoder.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._tail = b""
        os.set_blocking(fd, False)

    def read(self) -> DecoderNews:
        """All news since the last call."""
        try:
            data = os.read(self._fd, _READ_AT_ONCE)
        except BlockingIOError:
            return NO_NEWS
        lines = (self._tail + data).split(b"\n")
        self._tail = lines.pop()[-_READ_AT_ONCE:]
        sizes = [match for line in lines if (match := _SIZE.search(line))]
        size = (int(sizes[-1][1]), int(sizes[-1][2])) if sizes else None
        refused = any(_REFUSED.search(line) for line in lines)
        return DecoderNews(sum(1 for line in lines if _ERROR.search(line)), size, refused)
