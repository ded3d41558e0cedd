"""Splits, folds and held-out shares: no group on both sides, no class missing, and a clear refusal otherwise."""

from pathlib import Path

import pytest

from engines.datasets.labelled import Dataset, LabelledVideo, Span
from engines.datasets.splits import (
    check_classes,
    check_groups,
    count_labels,
    grouped_folds,
    hold_out,
    select,
    split_names,
)
from engines.errors import DataError


def clip(name, label, group="", split="", folder=Path("/nowhere")):
    return LabelledVideo(folder / name, (Span(0.0, float("inf"), label),), group or name, split)


def dataset(*videos):
    return Dataset("data.csv", ("idle", "run"), tuple(videos), grouped=True)


def many(groups=12, per_group=4):
    """Each group has clips of one class for the most part."""
    return [
        clip(f"{group}-{number}", "run" if (group + (number == 0)) % 2 else "idle", f"g{group}")
        for group in range(groups)
        for number in range(per_group)
    ]


def test_a_split_is_chosen_by_name():
    data = dataset(clip("a", "run", split="train"), clip("b", "run", split="val"), clip("c", "idle"))
    assert [video.name for video in select(data, "val")] == ["b"]
    assert select(data, "") == data.videos
    assert split_names(data) == ("train", "val")
    with pytest.raises(DataError, match=r"data.csv has no split 'vall' .did you mean 'val'.*there are train, val"):
        select(data, "vall")
    with pytest.raises(DataError, match="names no splits"):
        select(dataset(clip("a", "run")), "train")


def test_splits_that_share_a_group_are_refused():
    data = dataset(clip("a", "run", "g1", "train"), clip("b", "idle", "g2", "train"), clip("c", "run", "g2", "val"))
    with pytest.raises(DataError, match="'train' and 'val' share the group 'g2'"):
        check_groups(data, ["train", "val"])
    check_groups(data, ["train"])
    check_groups(data, ["val", "val"])


def test_the_same_file_in_two_splits_is_refused(tmp_path):
    for name, content in (("a", b"1234"), ("b", b"4321"), ("c", b"1234"), ("d", b""), ("e", b"")):
        (tmp_path / name).write_bytes(content)
    splits = {"a": "train", "b": "val", "c": "val", "d": "train", "e": "val"}
    data = [clip(name, "run", split=split, folder=tmp_path) for name, split in splits.items()]
    with pytest.raises(DataError, match="a in the split 'train' and c in 'val' are the same file"):
        check_groups(dataset(*data), ["train", "val"])
    check_groups(dataset(*[video for video in data if video.name != "c"]), ["train", "val"])


@pytest.mark.parametrize("divide", [lambda data: grouped_folds(data, 3, 1), lambda data: hold_out(data, 0.3, 1)])
def test_the_same_file_in_two_groups_is_refused_before_it_is_divided(tmp_path, divide):
    for video in many():
        (tmp_path / video.name).write_text(video.name)
    data = [clip(video.name, video.label, video.group, folder=tmp_path) for video in many()]
    divide(data)
    (tmp_path / "0-3").write_text("0-1")  # of one group: cannot be divided
    divide(data)
    (tmp_path / "3-1").unlink()
    (tmp_path / "3-1").symlink_to(tmp_path / "7-2")
    with pytest.raises(DataError, match="3-1 of the group 'g3' and 7-2 of 'g7' are the same file: remove one"):
        divide(data)


def test_a_missing_class_is_named():
    videos = [clip("a", "run"), clip("b", "idle")]
    check_classes(videos, ("idle", "run"), "the split 'val'")
    with pytest.raises(DataError, match="the split 'val' has no video of the class fall"):
        check_classes(videos, ("idle", "run", "fall"), "the split 'val'")
    with pytest.raises(DataError, match="only the class 'run'"):
        check_classes(videos, ("run",), "the data")
    assert count_labels(videos, ("run", "fall")) == {"run": 1, "fall": 0}


def test_folds_keep_groups_together_and_classes_alike():
    videos = many()
    folds = grouped_folds(videos, 4, seed=3)
    assert len(folds) == 4
    validated = [video.name for fold in folds for video in fold.validation]
    assert sorted(validated) == sorted(video.name for video in videos)
    for fold in folds:
        assert not {v.group for v in fold.train} & {v.group for v in fold.validation}
        assert len(fold.train) + len(fold.validation) == len(videos)
        share = sum(v.label == "run" for v in fold.validation) / len(fold.validation)
        assert 0.3 < share < 0.7
    assert grouped_folds(videos, 4, seed=3) == folds
    assert grouped_folds(videos, 4, seed=4) != folds


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_a_held_out_part_has_whole_groups_of_both_classes(share):
    videos = many(20)
    fold = hold_out(videos, share, seed=1)
    assert not {v.group for v in fold.train} & {v.group for v in fold.validation}
    assert len(fold.validation) == pytest.approx(share * len(videos), abs=4)
    assert {v.label for v in fold.validation} == {v.label for v in fold.train} == {"run", "idle"}
    assert sum(v.label == "run" for v in fold.validation) == pytest.approx(len(fold.validation) / 2, abs=2)
    assert hold_out(videos, share, seed=1) == fold


def test_too_few_groups_are_refused():
    one_source = [clip("a", "run", "g"), clip("b", "idle", "g")]
    with pytest.raises(DataError, match=r"1 group.* cannot give a validation part"):
        hold_out(one_source, 0.2, seed=1)
    with pytest.raises(DataError, match=r"2 group.* cannot give 5 folds"):
        grouped_folds([*one_source, clip("c", "idle", "h")], 5, seed=1)


def test_a_class_of_one_group_cannot_be_divided():
    videos = [clip(f"i{n}", "idle", f"g{n}") for n in range(8)] + [clip(f"r{n}", "run", "yard") for n in range(8)]
    with pytest.raises(DataError, match="no video of the class run: all its videos are of too few groups"):
        grouped_folds(videos, 4, seed=1)
    with pytest.raises(DataError, match="no video of the class run"):
        hold_out(videos, 0.2, seed=1)


def test_a_long_video_counts_as_its_rarest_class():
    marked = LabelledVideo(Path("long"), (Span(0, 5, "idle"), Span(5, 6, "run"), Span(6, 9, "idle")), "long")
    videos = [marked, *(clip(f"i{n}", "idle") for n in range(6)), clip("r", "run"), clip("s", "run"), clip("t", "run")]
    fold = hold_out(videos, 0.5, seed=2)
    runs = [sum(any(s.label == "run" for s in v.spans) for v in part) for part in (fold.train, fold.validation)]
    assert runs == [2, 2]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.9, 1.0])
def test_a_group_is_left_on_either_side_whatever_share_is_asked_for(share):
    two = [clip(f"{label}{group}", label, group) for group in ("g", "h") for label in ("idle", "run")]
    fold = hold_out(two, share, seed=1)
    assert {video.group for video in fold.train} | {video.group for video in fold.validation} == {"g", "h"}
    assert len(fold.train) == len(fold.validation) == 2
