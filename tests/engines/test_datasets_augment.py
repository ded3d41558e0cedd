"""Augmentation: one draw per clip, undone by its inverse; a mirror that knows left from right; frames wear alone."""

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.datasets.augment import Augmentation, Draw, apply, check_augmentation, draw, to_source
from engines.errors import DataError

LABELS = ("idle", "turn_left", "turn_right")
PAIRS = (("turn_left", "turn_right"),)
GEOMETRY = Augmentation(flip=True, crop=0.5, aspect=1.3, rotate_deg=15, flip_pairs=PAIRS)
COLOUR = Augmentation(brightness=0.2, contrast=0.3, saturation=0.5, hue_deg=30)


def smooth(frames, height=60, width=80):
    """Soft pictures, each another: interpolation changes them little."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(40, 216, (frames, 4, 5, 3)).astype(np.uint8)
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in coarse])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_all_frames_of_a_clip_share_one_geometry(seed):
    frames = smooth(4)
    drawn = draw(GEOMETRY, np.random.default_rng(seed), LABELS)
    shown = apply(frames, drawn, (90, 90))
    matrix = to_source(drawn, frames.shape[1:3], (90, 90))
    inside = undo(np.full((90, 90, 3), 255, np.uint8), matrix) == 255
    inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False  # beyond the edge there is a reflection
    assert inside.mean() > 0.2
    for frame, one in zip(frames, shown, strict=True):
        difference = np.abs(undo(one, matrix).astype(int) - frame)[inside]
        assert difference.mean() < 2
        assert np.percentile(difference, 99) < 8
    other = np.abs(undo(shown[0], matrix).astype(int) - frames[1])[inside]
    assert other.mean() > 8, "pictures of other frames differ by far more than the tolerance"


def undo(picture, matrix, height=60, width=80):
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_all_frames_of_a_clip_share_one_colour_map(seed):
    still = np.repeat(smooth(1), 3, axis=0)
    shown = apply(still, draw(COLOUR, np.random.default_rng(seed), LABELS))
    np.testing.assert_array_equal(shown, np.repeat(shown[:1], 3, axis=0))
    assert not np.array_equal(shown[0], still[0])


def test_a_mirror_is_exact_and_draws_are_repeatable():
    frames = np.random.default_rng(1).integers(0, 256, (3, 24, 32, 3), np.uint8)
    np.testing.assert_array_equal(apply(frames, Draw(flipped=True)), frames[:, :, ::-1])
    np.testing.assert_array_equal(apply(frames, Draw()), frames)
    first, again = (draw(GEOMETRY, np.random.default_rng(4), LABELS) for _ in range(2))
    assert first == again
    assert first != draw(GEOMETRY, np.random.default_rng(5), LABELS)


def test_a_crop_shows_that_part():
    frames = np.zeros((1, 40, 80, 3), np.uint8)
    frames[:, :20, 40:] = 200
    corner = Draw(centre=(0.75, 0.25), extent=(0.5, 0.5))
    shown = apply(frames, corner, (20, 40))
    np.testing.assert_array_equal(shown, 200)
    turned = apply(frames, Draw(rotate_deg=180.0))
    assert (turned[0, 25:, :35] == 200).all()
    assert not turned[0, :15].any()


def test_colour_changes_as_named():
    frames = np.full((1, 2, 2, 3), (40, 120, 200), np.uint8)
    grey = np.full((1, 2, 2, 3), 60, np.uint8)
    assert (apply(frames, Draw(brightness=0.1)) == np.array([66, 146, 226])).all()  # 25.5 of 255
    assert (apply(grey, Draw(contrast=2.0)) == 0).all()
    assert np.ptp(apply(frames, Draw(saturation=0.0))[0, 0]) == 0
    assert (apply(grey, Draw(saturation=1.7, hue_deg=77.0)) == 60).all(), "grey has no hue"
    np.testing.assert_allclose(apply(frames, Draw(hue_deg=120.0))[0, 0, 0], [200, 40, 120], atol=1)


def test_the_mirror_swaps_paired_labels():
    drawn = [draw(GEOMETRY, np.random.default_rng(seed), LABELS) for seed in range(40)]
    mirrored = [one for one in drawn if one.flipped]
    assert 8 < len(mirrored) < 32
    assert {tuple(one.label(index) for index in (-1, 0, 1, 2)) for one in mirrored} == {(-1, 0, 2, 1)}
    plain = [one for one in drawn if not one.flipped]
    assert {tuple(one.label(index) for index in (-1, 0, 1, 2)) for one in plain} == {(-1, 0, 1, 2)}


@pytest.mark.parametrize(
    ("augmentation", "labels", "expected"),
    [
        (Augmentation(flip=True), LABELS, "mirror image of 'turn_left'.*flip_pairs"),
        (Augmentation(flip=True), ("idle", "Left behind"), "'Left behind'"),
        (Augmentation(flip=True, flip_pairs=(("left", "rihgt"),)), ("left", "right"), "'rihgt'.*did you mean 'right'"),
        (Augmentation(flip=True, flip_pairs=(("left", "right"), ("left", "up"))), ("left", "right", "up"), "twice"),
    ],
)
def test_a_mirror_that_would_lie_is_refused(augmentation, labels, expected):
    with pytest.raises(DataError, match=expected):
        check_augmentation(augmentation, labels)


def test_what_may_be_mirrored_is_not_refused():
    check_augmentation(GEOMETRY, LABELS)
    check_augmentation(Augmentation(flip=True), ("bright", "cleft", "upright"))
    check_augmentation(Augmentation(), LABELS)


def test_frames_wear_by_themselves_and_alike_in_batches():
    still = np.repeat(smooth(1), 6, axis=0)
    drawn = draw(Augmentation(noise=6.0, blur=1.0, jpeg=40), np.random.default_rng(3), LABELS)
    worn = apply(still, drawn)
    assert len({frame.tobytes() for frame in worn}) == 6
    assert 0 < np.abs(worn.astype(int) - still).mean() < 12
    np.testing.assert_array_equal(np.concatenate([apply(still[:4], drawn), apply(still[4:], drawn, first=4)]), worn)


def test_a_recipe_names_its_wrong_keys():
    assert msgspec.convert({"flip": True, "flip_pairs": [["l", "r"]]}, Augmentation).flip_pairs == (("l", "r"),)
    for wrong in ({"flipp": True}, {"crop": 0}, {"brightness": 1.5}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, Augmentation)


def test_speed_is_as_often_slower_as_faster():
    speeds = [draw(Augmentation(time_stretch=0.25), np.random.default_rng(n), LABELS).speed for n in range(200)]
    assert 0.8 <= min(speeds) < 0.85
    assert 1.2 < max(speeds) <= 1.25
    assert 70 < sum(speed < 1 for speed in speeds) < 130
