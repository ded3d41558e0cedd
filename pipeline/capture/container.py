"""The outside of an MP4 or MOV file: is its index there, and is there a video track (ISO/IEC 14496-12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engines.errors import SourceError, UnsupportedSourceError
from pipeline.capture.finding import Finding

CODECS = {"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc", "mp4v": "mpeg4", "vp09": "vp9", "av01": "av1"}

_MAX_BOXES = 4096  # a damaged file must not keep a probe busy

Box = tuple[bytes, int, int]  # four-character type, offset of the contents, offset of the end


def mp4_picture(file: BinaryIO, path: Path) -> Finding:
    """Codec and size of the first video track. Raises SourceError where the file is cut off or holds no video."""
    end = file.seek(0, 2)
    index = next((box for box in _boxes(file, 0, end) if box[0] == b"moov"), None)
    if index is None or index[2] > end:
        raise SourceError(f"{path}: the file is incomplete, its index is missing: the recording or copy was cut off")
    tracks = [box for box in _boxes(file, index[1], index[2]) if box[0] == b"trak"]
    video = next((track for track in tracks if _handler(file, track) == b"vide"), None)
    if video is None:
        raise UnsupportedSourceError(f"{path}: the file has no video track, only sound or data")
    return _finding(file, path, video)


def _finding(file: BinaryIO, path: Path, track: Box) -> Finding:
    entry = _find(file, track, b"mdia", b"minf", b"stbl", b"stsd")
    if entry is None:
        return Finding("file", f"{path} is an MP4 file with video")
    file.seek(entry[1] + 8)  # version, flags and count stand before the first sample entry
    data = file.read(36)
    codec = CODECS.get(data[4:8].decode("ascii", "replace"))
    width, height = int.from_bytes(data[32:34], "big"), int.from_bytes(data[34:36], "big")
    if not width or not height:
        return Finding("file", f"{path} is an MP4 file with video", codec)
    return Finding("file", f"{path} holds {codec or 'video'}, {width}x{height}", codec, width, height)


def _handler(file: BinaryIO, track: Box) -> bytes:
    box = _find(file, track, b"mdia", b"hdlr")
    if box is None:
        return b""
    file.seek(box[1] + 8)
    return file.read(4)


def _find(file: BinaryIO, box: Box, *names: bytes) -> Box | None:
    found: Box | None = box
    for name in names:
        if found is None:
            return None
        found = next((inner for inner in _boxes(file, found[1], found[2]) if inner[0] == name), None)
    return found


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        size, begins = int.from_bytes(head[:4], "big"), start + 8
        if size == 1:
            size, begins = int.from_bytes(head[8:16], "big"), start + 16
        elif size == 0:  # to the end of the file
            size = end - start
        if size < begins - start:
            return
        yield head[4:8], begins, start + size
        start += size
