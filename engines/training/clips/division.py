"""Which videos are learnt from and which judge: the dataset divided as the recipe says, never through a group."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.datasets.labelled import Dataset, LabelledVideo
from engines.datasets.splits import (
    Fold,
    Videos,
    check_classes,
    check_groups,
    grouped_folds,
    hold_out,
    select,
    split_names,
)
from engines.errors import DataError
from engines.training.recipe import Recipe

USUAL_SHARE = 0.2


@dataclass(frozen=True)
class Division:
    """Videos to learn from and to judge on.

    Attributes:
        learnt: everything that the final network learns from.
        judging: videos that it does not learn from and is judged on; empty with folds.
        folds: ways to divide `learnt`; empty without cross-validation.
        how: the same in words, for logs and cards.
    """

    learnt: Videos
    judging: Videos
    folds: tuple[Fold, ...]
    how: str


def divide(dataset: Dataset, recipe: Recipe) -> Division:
    """Divide a dataset.

    Raises:
        DataError: a split is missing, shares a group with another, lacks a class, or is both learnt from and judged.
    """
    splits = split_names(dataset)
    check_groups(dataset, splits)
    train = recipe.data.train or ("train" if splits else "")
    videos = select(dataset, train)
    check_classes(videos, dataset.labels, f"the split {train!r}" if train else dataset.origin)
    how = recipe.data.validation
    if how.folds:
        folds = grouped_folds(videos, how.folds, recipe.seed)
        return Division(videos, (), folds, f"{how.folds}-fold cross-validation over {_groups(videos)}")
    split = how.split or ("val" if "val" in splits and train != "val" and not how.share else "")
    if split and split == train:
        raise DataError(
            f"the recipe {recipe.name} learns from the split {train!r} and is judged on it: "
            "name another in data.validation.split, or leave it out to hold out a part"
        )
    if split:
        check_groups(dataset, (train, split))
        judging = select(dataset, split)
        check_classes(judging, dataset.labels, f"the split {split!r}")
        return Division(videos, judging, (), f"the split {split!r} with {_groups(judging)}")
    fold = hold_out(videos, how.share or USUAL_SHARE, recipe.seed)
    return Division(fold.train, fold.validation, (), f"held-out videos of {_groups(fold.validation)}")


def data_digest(dataset: Dataset) -> str:
    """SHA-256 of what the dataset says: labels, videos with spans, groups, splits, the sizes of their files, and what
    comes beside them.
    """
    facts = [
        (
            video.name,
            video.group,
            video.split,
            [(s.start_s, str(s.end_s), s.label) for s in video.spans],
            _size(video.path),
            *_beside(video),
        )
        for video in dataset.videos
    ]
    return hashlib.sha256(msgspec.json.encode((dataset.labels, facts))).hexdigest()


def _beside(video: LabelledVideo) -> tuple[str, ...]:
    """SHA-256 of the file with the further inputs: other numbers in it leave its size as it is."""
    if video.inputs is None:
        return ()
    try:
        return (hashlib.sha256(video.inputs.read_bytes()).hexdigest(),)
    except OSError:
        return ("",)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _groups(videos: Videos) -> str:
    count = len({video.group for video in videos})
    return f"{count} group{'s' if count != 1 else ''}"
