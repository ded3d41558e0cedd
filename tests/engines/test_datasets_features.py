"""Feature sequences of videos: labels by time, views by name, a cache that notices change, bad files named."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from videos import FPS, write_truncated, write_video

from engines.datasets.augment import Augmentation
from engines.datasets.features import encode_dataset, view_draw
from engines.datasets.footage import sample
from engines.datasets.labelled import LabelledVideo, Span
from engines.datasets.reading import load_dataset
from engines.datasets.splits import check_groups, select
from engines.errors import DataError
from engines.further import FurtherInput
from engines.training.sequences import UNLABELLED

LABELS = ("idle", "turn_left", "turn_right")
SIZE = (24, 32)
AUGMENTATION = Augmentation(flip=True, flip_pairs=(("turn_left", "turn_right"),), crop=0.6, brightness=0.2)


class Encoder:
    """Mean levels of the left and right half; counts the pictures it was given."""

    def __init__(self, shape=(6,)):
        self.shape, self.pictures, self.largest = shape, 0, 0

    def __call__(self, frames):
        assert frames.dtype == np.uint8
        assert frames.shape[1:] == (*SIZE, 3)
        self.pictures += len(frames)
        self.largest = max(self.largest, len(frames))
        halves = [frames[:, :, :16].mean((1, 2)), frames[:, :, 16:].mean((1, 2))]
        return np.concatenate(halves, 1).astype(np.float32).reshape(-1, *self.shape)


def encoded(videos, encode=None, **options):
    settings = {"rate_hz": 5.0, "size": SIZE, "labels": LABELS, "encoder_id": "halves", "seed": 7, **options}
    return encode_dataset(videos, encode or Encoder(), **settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "a.mp4", 45)
    write_video(folder / "b.mp4", 30, width=160, height=120)
    return folder


@pytest.fixture(scope="module")
def clips(folder):
    whole = (0.0, float("inf"))
    left = LabelledVideo(folder / "a.mp4", (Span(*whole, "turn_left"),), "a")
    return [left, LabelledVideo(folder / "b.mp4", (Span(*whole, "idle"),), "b")]


def test_a_clip_becomes_a_sequence(clips):
    encode = Encoder()
    result = encoded(clips, encode)
    first, second = result.plain
    frames = sample(clips[0].path, 5.0, SIZE)
    np.testing.assert_array_equal(first.features, Encoder()(frames.frames).astype(np.float16))
    np.testing.assert_array_equal(first.times_s, frames.times_s)
    assert (first.name, first.group, len(first), len(second)) == ("a.mp4", "a", 15, 10)
    assert (first.labels.dtype, set(first.labels), set(second.labels)) == (np.int64, {1}, {0})
    assert result.videos == tuple(clips)
    assert result.skipped == ()
    assert encode.pictures == 25


def test_steps_are_labelled_by_the_span_that_holds_them(clips):
    spans = (Span(0.4, 1.0, "idle"), Span(1.0, 1.4, "turn_right"), Span(2.0, 2.5, "idle"))
    (sequence,) = encoded([replace(clips[0], spans=spans)]).plain
    none = UNLABELLED
    assert sequence.labels.tolist() == [none, none, 0, 0, 0, 2, 2, none, none, none, 0, 0, 0, none, none]
    (unmarked,) = encoded([replace(clips[0], spans=())]).plain
    assert set(unmarked.labels) == {none}


def test_features_may_be_maps_and_long_videos_come_in_batches(tmp_path):
    path = write_video(tmp_path / "long.mp4", 150)
    encode = Encoder((3, 2, 1))
    (sequence,) = encoded([LabelledVideo(path, (Span(0, 99, "idle"),), "g")], encode, rate_hz=float(FPS)).plain
    assert sequence.features.shape == (150, 3, 2, 1)
    assert (encode.pictures, encode.largest) == (150, 64)


def test_a_view_follows_from_the_name_and_not_from_the_order(clips):
    forward = encoded(clips, augmentation=AUGMENTATION, views=3)
    backward = encoded(clips[::-1], augmentation=AUGMENTATION, views=3)
    assert len(forward.views) == 3
    for view in range(3):
        for index in range(2):
            one, other = forward.views[view][index], backward.views[view][1 - index]
            np.testing.assert_array_equal(one.features, other.features)
            np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(forward.plain[0].features, encoded(clips).plain[0].features)
    assert not np.array_equal(forward.views[1][0].features, forward.views[2][0].features)
    other_seed = encoded(clips, augmentation=AUGMENTATION, views=2, seed=8)
    assert not np.array_equal(forward.views[1][0].features, other_seed.views[1][0].features)


def test_a_mirrored_view_has_the_other_label(clips):
    views = encoded(clips[:1], augmentation=AUGMENTATION, views=12).views
    flipped = [view_draw(AUGMENTATION, 7, "a.mp4", view, LABELS).flipped for view in range(1, 12)]
    assert [set(view[0].labels) for view in views[1:]] == [{2} if mirrored else {1} for mirrored in flipped]
    assert {True, False} == set(flipped)
    assert set(views[0][0].labels) == {1}


def test_a_stretched_view_has_another_length_and_the_same_marks(clips):
    marked = replace(clips[0], spans=(Span(1.0, 2.0, "idle"),))
    views = encoded([marked], augmentation=Augmentation(time_stretch=0.5), views=8, rate_hz=10.0).views
    speeds = [view_draw(Augmentation(time_stretch=0.5), 7, "a.mp4", view, LABELS).speed for view in range(1, 8)]
    for (sequence,), speed in zip(views[1:], speeds, strict=True):
        inside = sequence.times_s[sequence.labels == 0]
        assert inside[0] == pytest.approx(1.0 / speed, abs=0.15)
        assert inside[-1] == pytest.approx(2.0 / speed, abs=0.25)
        assert len(sequence) == pytest.approx(30 / speed, abs=2)


def test_an_augmentation_that_does_nothing_gives_one_view(clips):
    assert len(encoded(clips, augmentation=Augmentation(), views=4).views) == 1
    assert len(encoded(clips, views=4).views) == 1


def test_what_was_encoded_is_not_encoded_again(clips, tmp_path):
    options = {"cache": tmp_path / "cache", "augmentation": AUGMENTATION, "views": 2}
    first, again, other = Encoder(), Encoder(), Encoder()
    made, kept = encoded(clips, first, **options), encoded(clips, again, **options)
    assert (first.pictures, again.pictures) == (50, 0)
    for one, two in zip(made.views, kept.views, strict=True):
        for before, after in zip(one, two, strict=True):
            assert before.features.dtype == after.features.dtype
            np.testing.assert_array_equal(before.features, after.features)
            np.testing.assert_array_equal(before.labels, after.labels)
    encoded(clips, other, **{**options, "views": 3})
    assert other.pictures == 25, "only the third view is new"


@pytest.mark.parametrize(
    "change",
    [
        {"encoder_id": "another"},
        {"rate_hz": 3.0},
        {"half": False},
        {"seed": 8},
        {"augmentation": Augmentation(brightness=0.3)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changed_is_encoded_again(clips, tmp_path, change):
    options = {"cache": tmp_path, "augmentation": AUGMENTATION, "views": 2}
    encoded(clips, **options)
    encode = Encoder()
    encoded(clips, encode, **{**options, **change})
    assert encode.pictures > 0


def test_another_file_under_the_same_name_is_encoded_again(clips, folder, tmp_path):
    path = Path(shutil.copy(folder / "a.mp4", tmp_path / "a.mp4"))
    video = replace(clips[0], path=path)
    encoded([video], cache=tmp_path / "cache")
    shutil.copy(folder / "b.mp4", path)
    os.utime(path, ns=(1, 1))
    (sequence,) = encoded([video], cache=tmp_path / "cache").plain
    assert len(sequence) == 10


def test_a_file_of_the_same_size_that_was_written_later_is_encoded_again(clips, folder, tmp_path):
    path = Path(shutil.copy(folder / "a.mp4", tmp_path / "a.mp4"))
    encoded([replace(clips[0], path=path)], cache=tmp_path / "cache")
    os.utime(path, ns=(1, 1))
    encode = Encoder()
    encoded([replace(clips[0], path=path)], encode, cache=tmp_path / "cache")
    assert encode.pictures > 0


def test_a_stretched_view_has_the_further_inputs_of_the_same_moments(clips, tmp_path):
    times_s = np.arange(0.0, 3.0, 0.02)
    np.savez(tmp_path / "inputs.npz", clock=times_s, clock_times_s=times_s)
    video = replace(clips[0], inputs=tmp_path / "inputs.npz")
    stretch = Augmentation(time_stretch=0.5)
    views = encoded([video], augmentation=stretch, views=4, rate_hz=10.0, further=(FurtherInput("clock", 1),)).views
    for view, (sequence,) in enumerate(views):
        speed = view_draw(stretch, 7, "a.mp4", view, LABELS).speed if view else 1.0
        assert sequence.features[:, -1].all()
        assert sequence.features[:, -2] == pytest.approx(sequence.times_s * speed, abs=0.021)


@pytest.mark.parametrize("damage", [b"", b"nonsense", None], ids=["empty", "no archive", "cut off"])
def test_a_damaged_cache_file_is_made_again(clips, tmp_path, damage):
    whole = encoded(clips, cache=tmp_path)
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    encode = Encoder()
    again = encoded(clips, encode, cache=tmp_path)
    assert encode.pictures == 25
    np.testing.assert_array_equal(again.plain[0].features, whole.plain[0].features)


def test_bad_files_are_skipped_counted_and_named(clips, tmp_path):
    class News:
        def __init__(self):
            self.notes = []

        def advance(self, steps, note):
            self.notes.append((steps, note))

    late = replace(clips[0], spans=(Span(20.0, 30.0, "idle"),))
    between = replace(clips[0], spans=(Span(0.05, 0.1, "idle"),))
    bad = [LabelledVideo(path, clips[0].spans, "c") for path in (write_truncated(tmp_path / "cut.mp4"), tmp_path / "x")]
    news = News()
    result = encoded([bad[0], clips[0], bad[1], late, between], cache=tmp_path / "cache", news=news)
    assert [sequence.name for sequence in result.plain] == ["a.mp4"]
    assert result.videos == (clips[0],)
    assert [skipped.path for skipped in result.skipped] == [bad[0].path, bad[1].path, late.path, between.path]
    expected = (
        "cut off or damaged",
        "no such file",
        "from 20 s lies after the video's end",
        "no frame lies in its mark",
    )
    for skipped, reason in zip(result.skipped, expected, strict=True):
        assert reason in skipped.reason
    assert news.notes == [(1, f"{n} skipped" if n else "") for n in (1, 1, 2, 3, 4)]


def test_nothing_left_is_an_error(clips, tmp_path):
    with pytest.raises(DataError, match=r"not one of 1 videos can be used; the first: .*no such file"):
        encoded([replace(clips[0], path=tmp_path / "none.mp4")])
    with pytest.raises(DataError, match="no videos to encode"):
        encoded([])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_name_video_and_time(clips, value):
    def encode(frames):
        features = Encoder()(frames)
        features[6, 2] = value
        return features

    with pytest.raises(DataError, match=r"a\.mp4: the encoder's features at 1\.20 s are NaN or infinite"):
        encoded(clips, encode)


def test_half_precision_only_where_it_holds_the_values(clips):
    assert encoded(clips).plain[0].features.dtype == np.float16
    assert encoded(clips, half=False).plain[0].features.dtype == np.float32
    large = encoded(clips, lambda frames: Encoder()(frames) * np.float32(1000)).plain[0].features
    assert large.dtype == np.float32
    assert large.max() > 65504


def test_an_output_that_the_engine_uses_again_is_copied(clips):
    buffer = np.empty((64, 6), np.float32)

    def encode(frames):
        buffer[: len(frames)] = Encoder()(frames)
        return buffer[: len(frames)]

    first = encoded(clips, encode, half=False).plain[0]
    np.testing.assert_array_equal(first.features, encoded(clips, half=False).plain[0].features)


def test_wrong_labels_and_mirrors_are_refused_before_any_work(clips):
    encode = Encoder()
    with pytest.raises(DataError, match=r"a\.mp4: there is no label 'turn_left'"):
        encoded(clips, encode, labels=("idle", "left"))
    with pytest.raises(DataError, match="mirror image of 'turn_left'"):
        encoded(clips, encode, augmentation=Augmentation(flip=True))
    assert encode.pictures == 0


FIGHT = Path(__file__).parents[3] / "shared" / "data" / "fight" / "manifest.csv"


@pytest.mark.data
@pytest.mark.skipif(not FIGHT.exists(), reason="the fight clips do not lie beside the checkout")
def test_real_clips_are_read_split_and_encoded():
    data = load_dataset(FIGHT, labels=("nofight", "fight"))
    check_groups(data, ["train", "val"])
    assert [len(select(data, split)) for split in ("train", "val")] == [158, 46]
    chosen = select(data, "val")[::8]
    result = encoded(chosen, labels=data.labels, rate_hz=8.0, augmentation=Augmentation(flip=True, crop=0.8), views=2)
    assert result.skipped == ()
    for video, plain, view in zip(chosen, *result.views, strict=True):
        assert set(plain.labels) == {data.labels.index(video.label)}
        assert len(plain) == len(view) > 8
