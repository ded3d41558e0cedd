"""Parts of a dataset that know nothing of each other: named splits, folds and held-out shares, divided by group."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from engines.datasets.copies import find_copies, find_copies_across_groups
from engines.datasets.labelled import Dataset, LabelledVideo
from engines.datasets.naming import listed, meant
from engines.errors import DataError, MissingExtraError

Videos = tuple[LabelledVideo, ...]

_DRAWS = 200  # of which the one whose classes are divided most evenly is taken


@dataclass(frozen=True)
class Fold:
    """One way to divide videos: no group is in both parts."""

    train: Videos
    validation: Videos


def split_names(dataset: Dataset) -> tuple[str, ...]:
    """The splits there are, in the order in which they first occur."""
    return tuple(dict.fromkeys(video.split for video in dataset.videos if video.split))


def select(dataset: Dataset, split: str) -> Videos:
    """The videos of one split; of an empty name all.

    Raises:
        DataError: there is no such split; those there are are named.
    """
    if not split:
        return dataset.videos
    chosen = tuple(video for video in dataset.videos if video.split == split)
    if not chosen:
        names = split_names(dataset)
        known = f"there are {listed(names)}" if names else "it names no splits: add the column split, or folders"
        raise DataError(f"{dataset.origin} has no split {split!r}{meant(split, names)}: {known}")
    return chosen


def check_groups(dataset: Dataset, names: Sequence[str]) -> None:
    """Refuse splits that share a group or the very same file under two names.

    Raises:
        DataError: it names the group or the files, and both splits.
    """
    parts = {name: select(dataset, name) for name in dict.fromkeys(names)}
    for first, second in combinations(parts, 2):
        shared = sorted({video.group for video in parts[first]} & {video.group for video in parts[second]})
        if shared:
            raise DataError(
                f"{dataset.origin}: the splits {first!r} and {second!r} share {_groups(shared)}: "
                "what comes from one source must lie in one split, else the figures flatter"
            )
        copies = find_copies(parts[first], parts[second])
        if copies is not None:
            raise DataError(
                f"{dataset.origin}: {copies[0].name} in the split {first!r} and {copies[1].name} in {second!r} "
                "are the same file: remove one"
            )


def check_classes(videos: Sequence[LabelledVideo], labels: Sequence[str], where: str) -> None:
    """Refuse videos that lack a class, or labels that are only one.

    Raises:
        DataError: it names `where` and the classes without a video.
    """
    if len(labels) < 2:
        only = f"only the class {labels[0]!r}" if labels else "no class"
        raise DataError(f"{where} has {only}: a model needs at least two to tell apart")
    present = {span.label for video in videos for span in video.spans}
    missing = [label for label in labels if label not in present]
    if missing:
        raise DataError(f"{where} has no video of the class {listed(missing)}: add some, or leave the class out")


def count_labels(videos: Sequence[LabelledVideo], labels: Sequence[str]) -> dict[str, int]:
    """How many videos have each label."""
    counted = Counter(label for video in videos for label in {span.label for span in video.spans})
    return {label: counted[label] for label in labels}


def grouped_folds(videos: Sequence[LabelledVideo], folds: int, seed: int) -> tuple[Fold, ...]:
    """Divide by group into so many folds with classes as alike as groups allow; each video validates once.

    Raises:
        DataError: there are fewer groups than folds, two groups hold the very same file, or a fold would train without
            a class.
    """
    groups = [video.group for video in videos]
    _check_copies(videos)
    _check_enough(groups, folds, f"{folds} folds")
    StratifiedGroupKFold = _sklearn("StratifiedGroupKFold")  # noqa: N806 - a class
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rare classes: what matters of it is checked below
        try:
            divided = list(splitter.split(groups, strata(videos), groups))
        except ValueError as error:
            raise DataError(f"no class has {folds} videos for {folds} folds: take fewer folds or add videos") from error
    return tuple(_fold(videos, train, validation) for train, validation in divided)


def hold_out(videos: Sequence[LabelledVideo], share: float, seed: int) -> Fold:
    """Hold out about `share` of the groups for validation, with classes as alike as groups allow.

    Raises:
        DataError: there is only one group, two groups hold the very same file, or one of the parts would lack a class.
    """
    groups = [video.group for video in videos]
    _check_copies(videos)
    _check_enough(groups, 2, "a validation part")
    number = len(set(groups))
    held = min(max(round(share * number), 1), number - 1)
    splitter = _sklearn("GroupShuffleSplit")(_DRAWS, test_size=held, random_state=seed)
    kinds, kind = np.unique(strata(videos), return_inverse=True)
    one_hot = np.eye(len(kinds))[kind]
    draws = list(splitter.split(groups, groups=groups))
    uneven = [np.abs(one_hot[part].sum(0) / one_hot.sum(0) - share).sum() for _, part in draws]
    fold = _fold(videos, *draws[int(np.argmin(uneven))])
    _check_covers(fold.validation, videos, "the held-out part")
    return fold


def strata(videos: Sequence[LabelledVideo]) -> list[str]:
    """One label per video to balance parts by; of several the one that is rarest among the videos."""
    often = Counter(label for video in videos for label in {span.label for span in video.spans})
    return [
        min((s.label for s in video.spans), key=lambda label: (often[label], label), default="") for video in videos
    ]


def _fold(videos: Sequence[LabelledVideo], train: Iterable[int], validation: Iterable[int]) -> Fold:
    fold = Fold(tuple(videos[index] for index in train), tuple(videos[index] for index in validation))
    _check_covers(fold.train, videos, "the part that is left for training")
    return fold


def _check_copies(videos: Sequence[LabelledVideo]) -> None:
    """What lies in two groups could be learnt in one part and judged in the other."""
    copies = find_copies_across_groups(videos)
    if copies is not None:
        one, other = copies
        raise DataError(
            f"{one.name} of the group {one.group!r} and {other.name} of {other.group!r} are the same file: "
            "remove one, or give both one group"
        )


def _check_covers(part: Videos, videos: Sequence[LabelledVideo], where: str) -> None:
    """Every class of the videos must be in the part."""
    present = {span.label for video in part for span in video.spans}
    missing = sorted({span.label for video in videos for span in video.spans} - present)
    if missing:
        raise DataError(
            f"divided by group, {where} has no video of the class {listed(missing)}: "
            "all its videos are of too few groups, so add videos of other sources"
        )


def _check_enough(groups: Sequence[str], needed: int, what: str) -> None:
    there = len(set(groups))
    if there < needed:
        raise DataError(f"{there} group(s) of videos cannot give {what}: it takes {needed} groups at least")


def _groups(shared: Sequence[str]) -> str:
    return f"the group {shared[0]!r}" if len(shared) == 1 else f"{len(shared)} groups, such as {shared[0]!r}"


def _sklearn(name: str) -> Any:
    try:
        from sklearn import model_selection  # noqa: PLC0415 - an optional package
    except ModuleNotFoundError as error:
        raise MissingExtraError("dividing videos by group", "scikit-learn", "train") from error
    return getattr(model_selection, name)
