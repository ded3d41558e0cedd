"""Labelled video as it lies on disk, read and checked: folders named after labels, or a CSV manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engines.datasets.folders import read_folders
from engines.datasets.labelled import Dataset, LabelledVideo, Skipped
from engines.datasets.manifest_file import read_manifest
from engines.errors import DataError


def load_dataset(path: Path, *, labels: Sequence[str] = (), background: str = "") -> Dataset:
    """Read a folder with one folder per label (with `train/`, `val/` ... on top or not) or a CSV manifest.

    A manifest has the columns `path` and `label`, and may have `split`, `group`, `start` and `end` (seconds); several
    rows of one path are marked intervals of one long video, whose unmarked time gets the label `background` where that
    is given and none otherwise. Paths are relative to the manifest. `labels` says which labels there may be and in
    which order; without it they are sorted, `background` first.

    Raises:
        DataError: a sentence with the row or file, what is wrong with it and what to do.
    """
    if background and labels and background not in labels:
        raise DataError(f"the background {background!r} is none of the labels {', '.join(labels)}: add it to them")
    if not path.exists():
        raise DataError(f"there is no labelled video at {path}: give a folder with one folder per label or a CSV file")
    skipped: tuple[Skipped, ...] = ()
    if path.is_dir():
        videos, skipped = read_folders(path, labels)
        grouped = False
    else:
        videos, grouped = read_manifest(path, labels, background)
    return Dataset(str(path), _labels(videos, labels, background), videos, grouped, skipped)


def _labels(videos: Sequence[LabelledVideo], labels: Sequence[str], background: str) -> tuple[str, ...]:
    if labels:
        return tuple(labels)
    found = {span.label for video in videos for span in video.spans}
    return tuple(sorted(found, key=lambda label: (label != background, label)))
