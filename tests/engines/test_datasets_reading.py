"""Labelled video on disk: folders and manifests become one kind of dataset, and each mistake is one sentence."""

import math

import numpy as np
import pytest

from engines.datasets.intervals import labels_at
from engines.datasets.labelled import Span
from engines.datasets.reading import load_dataset
from engines.errors import DataError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def manifest(folder, *lines, clips=("a.mp4", "b.mp4", "c.mp4")):
    touch(folder, *clips)
    (folder / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "data.csv"


def spans(dataset):
    return {video.name: [(s.start_s, s.end_s, s.label) for s in video.spans] for video in dataset.videos}


def test_one_folder_per_label(tmp_path):
    dataset = load_dataset(touch(tmp_path, "run/b.mp4", "run/a.MP4", "idle/c.avi", "idle/.hidden", "idle/notes.txt"))
    assert dataset.labels == ("idle", "run")
    assert [(v.name, v.label, v.split, v.group) for v in dataset.videos] == [
        ("idle/c.avi", "idle", "", "idle/c.avi"),
        ("run/a.MP4", "run", "", "run/a.MP4"),
        ("run/b.mp4", "run", "", "run/b.mp4"),
    ]
    assert dataset.videos[0].spans == (Span(0.0, math.inf, "idle"),)
    assert dataset.videos[0].spans[0].whole
    assert not dataset.grouped
    assert [s.path.name for s in dataset.skipped] == ["notes.txt"]
    assert dataset.skipped[0].reason.startswith(f"{dataset.skipped[0].path}: ")
    assert "(.txt)" in dataset.skipped[0].reason


def test_folders_of_splits_on_top_of_labels(tmp_path):
    dataset = load_dataset(touch(tmp_path, "train/run/a.mp4", "train/idle/b.mp4", "val/run/a.mp4", "README.md"))
    assert [(v.name, v.label, v.split) for v in dataset.videos] == [
        ("train/idle/b.mp4", "idle", "train"),
        ("train/run/a.mp4", "run", "train"),
        ("val/run/a.mp4", "run", "val"),
    ]
    assert len({v.group for v in dataset.videos}) == 3, "the same file name in two folders is no common source"
    assert [s.path.name for s in dataset.skipped] == ["README.md"]


def test_the_background_comes_first_and_given_labels_keep_their_order(tmp_path):
    touch(tmp_path, "run/a.mp4", "fall/b.mp4", "nothing/c.mp4")
    assert load_dataset(tmp_path, background="nothing").labels == ("nothing", "fall", "run")
    assert load_dataset(tmp_path, labels=("run", "nothing", "fall", "jump")).labels == (
        "run",
        "nothing",
        "fall",
        "jump",
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a.mp4"], "no label's folder"),
        (["running/a.txt"], "holds no video"),
        (["train/running/deep/a.mp4"], "too deep"),
        (["run/a.mp4", "train/run/b.mp4"], "holds folders"),
        (["train/a.mp4"], "no label 'train': the labels are running, idle"),
        (["runing/a.mp4"], "did you mean 'running'"),
    ],
)
def test_wrong_folders_are_one_sentence(tmp_path, files, expected):
    with pytest.raises(DataError, match=expected) as error:
        load_dataset(touch(tmp_path, *files), labels=("running", "idle"))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_folder_and_nothing_at_all(tmp_path):
    with pytest.raises(DataError, match="there is no video in"):
        load_dataset(tmp_path)
    with pytest.raises(DataError, match="there is no labelled video at"):
        load_dataset(tmp_path / "none")


def test_a_manifest_of_clips(tmp_path):
    path = manifest(
        tmp_path,
        "\ufeffPath, label,split,group,frames",
        "a.mp4, run ,train,street,12",
        '"sub/b, c.mp4",idle,train,yard,',
        "",
        "c.mp4,idle,val,hall,9",
        clips=("a.mp4", "sub/b, c.mp4", "c.mp4"),
    )
    dataset = load_dataset(path)
    assert [(v.name, v.label, v.split, v.group, v.path) for v in dataset.videos] == [
        ("a.mp4", "run", "train", "street", tmp_path / "a.mp4"),
        ("sub/b, c.mp4", "idle", "train", "yard", tmp_path / "sub/b, c.mp4"),
        ("c.mp4", "idle", "val", "hall", tmp_path / "c.mp4"),
    ]
    assert dataset.grouped
    assert all(v.spans[0].whole for v in dataset.videos)


def test_marked_intervals_of_long_videos(tmp_path):
    lines = ["path,label,start,end", "a.mp4,run,10,20", "b.mp4,jump,,3.5", "a.mp4,jump,2,4", "a.mp4,run,15,25"]
    path = manifest(tmp_path, *lines)
    dataset = load_dataset(path)
    assert spans(dataset) == {"a.mp4": [(2, 4, "jump"), (10, 25, "run")], "b.mp4": [(0, 3.5, "jump")]}
    assert dataset.labels == ("jump", "run")
    assert [video.group for video in dataset.videos] == ["a.mp4", "b.mp4"]
    assert dataset.videos[0].label is None


def test_unmarked_time_gets_the_background(tmp_path):
    lines = ["path,label,start,end", "a.mp4,run,10,20", "a.mp4,run,20,25", "b.mp4,run,0,", "c.mp4,none,,"]
    dataset = load_dataset(manifest(tmp_path, *lines), background="none")
    assert spans(dataset) == {
        "a.mp4": [(0, 10, "none"), (10, 20, "run"), (20, 25, "run"), (25, math.inf, "none")],
        "b.mp4": [(0, math.inf, "run")],
        "c.mp4": [(0, math.inf, "none")],
    }
    assert dataset.labels == ("none", "run")


def test_two_spellings_of_one_path_are_one_video(tmp_path):
    path = manifest(tmp_path, "path,label,start,end", "a.mp4,run,0,1", "./x/../a.mp4,idle,1,2", clips=("a.mp4", "x/b"))
    dataset = load_dataset(path)
    assert spans(dataset) == {"a.mp4": [(0, 1, "run"), (1, 2, "idle")]}


@pytest.mark.parametrize(
    ("lines", "line", "expected"),
    [
        (["path,label", "a.mp4,run", "a.mp4,run"], 3, "same as .*line 2"),
        (["path,label", "a.mp4,run", "a.mp4,idle"], 3, "overlaps .*'run' from 0 s to the end"),
        (["path,label,start,end", "a.mp4,run,5,9", "a.mp4,idle,1,6"], 2, "overlaps .*'idle' from 1 s to 6 s"),
        (["path,label,start,end", "a.mp4,run,1,9", "a.mp4,run,5,7", "a.mp4,idle,8,9"], 4, "overlaps"),
        (["path,label,start,end", "a.mp4,run,5,5"], 2, "not after the start"),
        (["path,label,start,end", "a.mp4,run,-1,5"], 2, "not negative"),
        (["path,label,start,end", "a.mp4,run,0:12,5"], 2, "seconds"),
        (["path,label,start,end", "a.mp4,run,nan,5"], 2, "seconds"),
        (["path,label", "a.mp4,run", "none.mp4,run"], 3, "does not exist"),
        (["path,label", ".,run"], 2, "is a folder"),
        (["path,label", "a.mp4,"], 2, "label is empty"),
        (["path,label", ",run"], 2, "path is empty"),
        (["path,label", "a.mp4,runn"], 2, "no label 'runn'.*did you mean 'run'.*run, idle"),
        (["path,label", "a.mp4,run,more"], 2, "more values than columns"),
        (["path,label,group", "a.mp4,run,g", "b.mp4,idle,"], 3, "group is empty"),
        (["path,label,split", "a.mp4,run,", "b.mp4,idle,val"], 2, "split is empty"),
        (["path,label,split,start,end", "a.mp4,run,train,0,1", "a.mp4,run,val,1,2"], 3, "split 'val', but 'train'"),
        (["path,label,group,start,end", "a.mp4,run,g,0,1", "a.mp4,run,h,1,2"], 3, "group 'h', but 'g'"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, lines, line, expected):
    with pytest.raises(DataError, match=expected) as error:
        load_dataset(manifest(tmp_path, *lines), labels=("run", "idle"))
    assert f"data.csv, line {line}: " in str(error.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no column 'path'.*empty"),
        (b"path,label\n", "holds no rows"),
        (b"file,label\na.mp4,run\n", "no column 'path'"),
        (b"path,labels\na.mp4,run\n", "no column 'label' .did you mean 'labels'"),
        (b"path;label\na.mp4;run\n", "separated by commas"),
        (b"path,label,label\na.mp4,run,idle\n", "'label' twice"),
        (b"\xff\xfe\x00\x01\n", "not a CSV file in UTF-8"),
        (b'path,label\n"a.mp4,run\n', "not a CSV file"),
    ],
)
def test_a_manifest_that_is_none(tmp_path, content, expected):
    path = touch(tmp_path, "data.csv", "a.mp4") / "data.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=expected) as error:
        load_dataset(path)
    assert str(path) in str(error.value)


def test_a_background_that_is_no_label(tmp_path):
    with pytest.raises(DataError, match="'calm' is none of the labels run, idle"):
        load_dataset(touch(tmp_path, "run/a.mp4"), labels=("run", "idle"), background="calm")


def test_a_frame_a_hair_before_an_edge_lies_behind_it():
    """Decoders round: frame 90 at 30 frames/s may come at 2.99999997 s."""
    spans = [Span(0.0, 3.0, "idle"), Span(3.0, 4.0, "run")]
    times_s = np.array([0.0, 2.9, 2.99999997, 3.0, 3.9, 3.99999997, 5.0])
    assert labels_at(times_s, spans, ["idle", "run"]).tolist() == [0, 0, 1, 1, 1, -1, -1]
