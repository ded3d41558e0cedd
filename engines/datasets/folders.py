"""Clips sorted into folders: one folder per label, under one folder per split where there are splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engines.datasets.labelled import LabelledVideo, Skipped, Span
from engines.datasets.naming import check_label
from engines.errors import DataError

WHOLE = (0.0, float("inf"))
SUFFIXES: tuple[str, ...] = (
    ".3gp",
    ".avi",
    ".flv",
    ".h264",
    ".h265",
    ".hevc",
    ".m2ts",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
)
SUFFIXES += (".mts", ".ogv", ".ts", ".webm", ".wmv")
_ADVICE = "put each clip into a folder named after its label, on top of that at most one folder per split"


def read_folders(root: Path, labels: Sequence[str]) -> tuple[tuple[LabelledVideo, ...], tuple[Skipped, ...]]:
    """All videos below a folder in the order of their names, and the files that are none by their names.

    Each is a group of its own: folders do not say what belongs together.

    Raises:
        DataError: the folders are laid out otherwise, one is empty, or a label is not among `labels`.
    """
    for file in _files(root):
        if _is_video(file):
            raise DataError(f"{file} lies in no label's folder: {_ADVICE}")
    split_on_top = _has_splits(root)
    skipped = [_no_video(file) for file in _files(root)]
    videos: list[LabelledVideo] = []
    for top in _folders(root):
        if split_on_top:
            skipped += [_no_video(file) for file in _files(top)]
        for folder in _folders(top) if split_on_top else [top]:
            found, left_out = _read_label(root, folder, labels, top.name if split_on_top else "")
            videos += found
            skipped += left_out
    if not videos:
        raise DataError(f"there is no video in {root}: {_ADVICE}")
    return tuple(videos), tuple(skipped)


def _has_splits(root: Path) -> bool:
    """Whether the folders on top hold folders of videos rather than videos."""
    direct = [top for top in _folders(root) if any(_is_video(file) for file in _files(top))]
    below = [top for top in _folders(root) if _folders(top)]
    if direct and below:
        raise DataError(f"{direct[0]} holds videos and {below[0]} holds folders: {_ADVICE}")
    return bool(below)


def _read_label(
    root: Path, folder: Path, labels: Sequence[str], split: str
) -> tuple[list[LabelledVideo], list[Skipped]]:
    check_label(folder.name, labels, str(folder))
    deeper = _folders(folder)
    if deeper:
        raise DataError(f"{deeper[0]} lies too deep: {_ADVICE}")
    files = _files(folder)
    videos = [_clip(root, file, split) for file in files if _is_video(file)]
    if not videos:
        raise DataError(f"the label's folder {folder} holds no video: fill it or remove it")
    return videos, [_no_video(file) for file in files if not _is_video(file)]


def _clip(root: Path, file: Path, split: str) -> LabelledVideo:
    name = file.relative_to(root).as_posix()
    return LabelledVideo(file, (Span(*WHOLE, file.parent.name),), group=name, split=split, name=name)


def _no_video(file: Path) -> Skipped:
    return Skipped(file, f"{file}: its name does not end as a video's does ({file.suffix or 'no ending'})")


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _files(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if not entry.is_dir()]


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}") from error
