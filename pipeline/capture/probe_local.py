"""Looks at a file or a video device without decoding, and says what is wrong with it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from engines.errors import SourceError, UnsupportedSourceError
from pipeline.capture.container import mp4_picture
from pipeline.capture.finding import Finding

_SOUND = {b"ID3": "MP3", b"fLaC": "FLAC", b"\xff\xfb": "MP3", b"#!AMR": "AMR"}
_HEAD_BYTES = 16
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}([:/]|$)")


def probe_file(path: Path) -> Finding:
    """A video file, as far as its outside tells. Raises SourceError or one of its kinds."""
    try:
        facts = path.stat()
    except OSError as error:
        hint = "; a camera's address begins with rtsp:// or http://" if _ADDRESS.match(str(path)) else ""
        raise SourceError(f"{path}: {'not permitted' if _is_barred(error) else f'no such file{hint}'}") from error
    if stat.S_ISDIR(facts.st_mode):
        raise SourceError(f"{path}: a folder, not a video file")
    if stat.S_ISCHR(facts.st_mode):
        return probe_device(path)
    if not stat.S_ISREG(facts.st_mode):
        raise SourceError(f"{path}: neither a file nor a video device")
    if facts.st_size == 0:
        raise SourceError(f"{path}: the file is empty (0 bytes)")
    try:
        return _look_inside(path)
    except OSError as error:
        raise SourceError(f"{path}: the file cannot be read: {(error.strerror or str(error)).lower()}") from error


def probe_device(path: Path) -> Finding:
    """A video device such as /dev/video0. Raises SourceError where it is missing, barred or something else."""
    if not path.exists():
        raise SourceError(f"{path}: no such device; is the camera plugged in? `ls /dev/video*` shows those there are")
    if not stat.S_ISCHR(path.stat().st_mode):
        raise SourceError(f"{path}: not a video device")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"{path}: this user may not open the device; add the user to its group (usually `video`)")
    return Finding("device", f"{path} is there and may be opened")


def _look_inside(path: Path) -> Finding:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if head[4:8] == b"ftyp":
            return mp4_picture(file, path)
    sound = next((name for magic, name in _SOUND.items() if head.startswith(magic)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        sound = "WAV"
    if sound:
        raise UnsupportedSourceError(f"{path}: a sound file ({sound}) without video")
    return Finding("file", f"{path} is a file that can be read")


def _is_barred(error: OSError) -> bool:
    return isinstance(error, PermissionError)
