"""The same video under two names, which would be learnt in one part and judged in another."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable
from pathlib import Path

from engines.datasets.labelled import LabelledVideo


def find_copies(
    first: Iterable[LabelledVideo], second: Iterable[LabelledVideo]
) -> tuple[LabelledVideo, LabelledVideo] | None:
    """A video of each with the same content, or None; only files of one size are read."""
    by_size: dict[int, list[LabelledVideo]] = {}
    for video in first:
        by_size.setdefault(_size(video.path), []).append(video)
    for video in second:
        size = _size(video.path)
        for other in by_size.get(size, []) if size else []:
            if filecmp.cmp(video.path, other.path, shallow=False):
                return other, video
    return None


def find_copies_across_groups(videos: Iterable[LabelledVideo]) -> tuple[LabelledVideo, LabelledVideo] | None:
    """Two videos with the same content that belong to different groups, or None; only files of one size are read."""
    by_size: dict[int, list[LabelledVideo]] = {}
    for video in videos:
        size = _size(video.path)
        alike = by_size.setdefault(size, []) if size else []
        for other in alike:
            if other.group != video.group and filecmp.cmp(video.path, other.path, shallow=False):
                return other, video
        alike.append(video)
    return None


def _size(path: Path) -> int:
    """Bytes; 0 for what cannot be read, which decoding will say."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
