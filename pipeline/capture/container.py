"""The outside of an MP4 or MOV file: is its index there, and is there a video track (ISO/IEC 14496-12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engines.errors import SourceError, UnsupportedSourceError
from pipeline.capture.finding import Finding

CODECS = {"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc", "mp4v": "mpeg4", "vp09": "vp9", "av01": "av1"}

_MAX_BOXES = 10_000  # of one file; a damaged or hostile one must not keep a probe busy

Box = tuple[bytes, int, int]  # four-character type, offset of the contents, offset of the end


def mp4_picture(file: BinaryIO, path: Path) -> Finding:
    """Codec and size of the first video track. Raises SourceError where the file is cut off or holds no video."""
    end = file.seek(0, 2)
    boxes = _Boxes(file, path)
    index = next((box for box in boxes.within(0, end) if box[0] == b"moov"), None)
    if index is None or index[2] > end:
        raise SourceError(f"{path}: the file is incomplete, its index is missing: the recording or copy was cut off")
    tracks = (box for box in boxes.within(index[1], index[2]) if box[0] == b"trak")
    video = next((track for track in tracks if boxes.handler(track) == b"vide"), None)
    if video is None:
        raise UnsupportedSourceError(f"{path}: the file has no video track, only sound or data")
    return _finding(path, boxes.sample_entry(video))


def _finding(path: Path, entry: bytes) -> Finding:
    """From the head of a visual sample entry; empty where there is none."""
    codec = CODECS.get(entry[4:8].decode("ascii", "replace"))
    width, height = int.from_bytes(entry[32:34], "big"), int.from_bytes(entry[34:36], "big")
    if not width or not height:
        return Finding("file", f"{path} is an MP4 file with video", codec)
    return Finding("file", f"{path} holds {codec or 'video'}, {width}x{height}", codec, width, height)


class _Boxes:
    """Walks the nested boxes of a file, so many and no more."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._size = file.seek(0, 2)
        self._left = _MAX_BOXES

    def within(self, start: int, end: int) -> Iterator[Box]:
        """The boxes side by side between two offsets; the last may claim to reach further."""
        while start + 8 <= min(end, self._size):
            self._left -= 1
            if self._left < 0:
                raise SourceError(f"{self._path}: the file's index is damaged: it holds more than {_MAX_BOXES} parts")
            head = self._read(start, 16)
            size, begins = int.from_bytes(head[:4], "big"), start + 8
            if size == 1:
                size, begins = int.from_bytes(head[8:16], "big"), start + 16
            elif size == 0:  # to the end
                size = end - start
            if size < begins - start:
                return
            yield head[4:8], begins, start + size
            start += size

    def handler(self, track: Box) -> bytes:
        """What a track is: `vide`, `soun`, ..."""
        box = self._find(track, b"mdia", b"hdlr")
        return self._read(box[1] + 8, 4) if box else b""

    def sample_entry(self, track: Box) -> bytes:
        """The first 36 bytes of a track's first sample entry; version, flags and count stand before it."""
        box = self._find(track, b"mdia", b"minf", b"stbl", b"stsd")
        return self._read(box[1] + 8, 36) if box else b""

    def _find(self, box: Box, *names: bytes) -> Box | None:
        found: Box | None = box
        for name in names:
            if found is None:
                return None
            found = next((inner for inner in self.within(found[1], found[2]) if inner[0] == name), None)
        return found

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)
