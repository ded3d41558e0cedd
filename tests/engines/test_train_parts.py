"""Parts of a training on labelled video: division, calibration, event rules, epochs of folds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from engines.datasets.labelled import Dataset, LabelledVideo, Span
from engines.errors import DataError
from engines.manifest import ClipRule, EventRule
from engines.training.answers import clip_scores, softmax
from engines.training.clips.calibration import fit_temperature
from engines.training.clips.division import data_digest, divide
from engines.training.clips.folds import (
    FoldResult,
    final_epochs,
    judging_epochs,
    load_fold,
    pieces,
    save_fold,
)
from engines.training.clips.judging import judge, shown
from engines.training.clips.rules import Stream, choose_rules, make_stream
from engines.training.recipe import Data, Recipe, Validation
from engines.training.sequences import UNLABELLED, FeatureSequence

LABELS = ("quiet", "alarm")


def video(number: int, label: str, split: str = "", group: str = "") -> LabelledVideo:
    return LabelledVideo(
        Path(f"{number}.mp4"), (Span(0.0, float("inf"), label),), group or f"g{number}", split, f"{number}.mp4"
    )


def dataset(*splits: str, labels: tuple[str, ...] = LABELS) -> Dataset:
    """Six videos of each label in each split."""
    videos = [
        video(100 * at + 10 * which + each, label, split)
        for at, split in enumerate(splits or ("",))
        for which, label in enumerate(labels)
        for each in range(6)
    ]
    return Dataset("toys", LABELS, tuple(videos), grouped=True)


def recipe(**data: object) -> Recipe:
    return Recipe("toy", "gru", Data("clips", **data))  # type: ignore[arg-type]


# ---- division --------------------------------------------------------------------------------------------------------
def groups(videos: tuple[LabelledVideo, ...]) -> set[str]:
    return {video.group for video in videos}


def test_without_a_word_val_judges_where_there_is_one_and_else_a_fifth() -> None:
    given = divide(dataset("train", "val", "test"), recipe())
    assert {video.split for video in given.learnt} == {"train"}
    assert {video.split for video in given.judging} == {"val"}
    assert given.how == "the split 'val' with 12 groups"
    held = divide(dataset("train", "test"), recipe())
    assert 1 <= len(held.judging) <= 4
    assert not groups(held.learnt) & groups(held.judging)
    assert {video.split for video in (*held.learnt, *held.judging)} == {"train"}


@pytest.mark.parametrize("data", [{}, {"train": "val"}])
def test_the_split_that_is_learnt_never_judges(data: dict[str, str]) -> None:
    split = data.get("train", "train")
    with pytest.raises(DataError, match=f"learns from the split '{split}' and is judged on it"):
        divide(dataset("train", "val"), recipe(**data, validation=Validation(split=split)))


def test_folds_judge_each_video_once_and_all_are_learnt() -> None:
    divided = divide(dataset(), recipe(validation=Validation(folds=3)))
    assert len(divided.learnt) == 12
    assert not divided.judging
    judged = [video.name for fold in divided.folds for video in fold.validation]
    assert sorted(judged) == sorted(video.name for video in divided.learnt)
    assert all(not groups(fold.train) & groups(fold.validation) for fold in divided.folds)


def test_groups_in_two_splits_a_missing_class_and_one_class_are_refused() -> None:
    whole = dataset("train", "val")
    mixed = Dataset("toys", LABELS, (*whole.videos, video(999, "quiet", "val", group="g0")), grouped=True)
    with pytest.raises(DataError, match=r"'train' and 'val' share the group 'g0'"):
        divide(mixed, recipe())
    hole = Dataset(
        "toys", LABELS, tuple(v for v in whole.videos if (v.split, v.label) != ("val", "alarm")), grouped=True
    )
    with pytest.raises(DataError, match=r"the split 'val' has no video of the class alarm"):
        divide(hole, recipe())
    with pytest.raises(DataError, match=r"toys has only the class 'quiet'"):
        divide(Dataset("toys", ("quiet",), dataset().videos[:6], grouped=True), recipe())
    with pytest.raises(DataError, match=r"no split 'vall'.*did you mean 'val'"):
        divide(whole, recipe(validation=Validation(split="vall")))


def test_the_datas_digest_sees_labels_groups_and_files() -> None:
    whole = dataset("train")
    changed = Dataset("toys", LABELS, (*whole.videos[1:], video(0, "alarm", "train")), grouped=True)
    assert data_digest(whole) == data_digest(dataset("train"))
    assert data_digest(whole) != data_digest(changed)


def test_the_datas_digest_sees_what_comes_beside_a_video(tmp_path: Path) -> None:
    """Other samples leave the file's size as it is."""
    whole, beside = dataset("train"), tmp_path / "0.npz"

    def digest(samples: list[float]) -> str:
        np.savez(beside, level=np.array(samples))
        return data_digest(replace(whole, videos=(replace(whole.videos[0], inputs=beside), *whole.videos[1:])))

    assert digest([1.0, 2.0]) == digest([1.0, 2.0])
    assert len({data_digest(whole), digest([1.0, 2.0]), digest([1.0, 3.0])}) == 3


# ---- calibration -----------------------------------------------------------------------------------------------------
def noisy(sharpness: float, clips: int = 400) -> tuple[list[np.ndarray], list[FeatureSequence]]:
    """One-step clips whose labels follow softmax(logits); the logits given are too sharp by a factor."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (clips, 1, 2)).astype(np.float32)
    truth = [int(rng.random() < softmax(each)[0, 1]) for each in logits]
    sequences = [
        FeatureSequence(f"v{n}", f"g{n}", np.zeros((1, 1), np.float32), np.zeros(1), np.array([label]))
        for n, label in enumerate(truth)
    ]
    return [each * np.float32(sharpness) for each in logits], sequences


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_is_too_sure(sharpness: float) -> None:
    answers, sequences = noisy(sharpness)
    assert fit_temperature(answers, sequences, "mean") == pytest.approx(sharpness, rel=0.15)


def test_few_clips_that_are_all_right_do_not_become_certain() -> None:
    _, sequences = noisy(1.0, clips=6)
    right = [np.where(np.arange(2) == s.labels[0], 4.0, -4.0)[None].astype(np.float32) for s in sequences]
    temperature = fit_temperature(right, sequences, "mean")
    clips = clip_scores(right, sequences, "mean", temperature=temperature)
    assert 0.7 < clips.scores.max() < 0.9


# ---- judgement -------------------------------------------------------------------------------------------------------
def test_a_network_no_better_than_a_baseline_is_told_so() -> None:
    answers, sequences = noisy(1.0)
    same = {"mean over frames": np.concatenate([softmax(each) for each in answers]).astype(np.float64)}
    judgement = judge("toys", answers, sequences, same, ClipRule(), temperature=1.0, warm_s=0.0, seed=1)
    assert "DOES NOT BEAT" in judgement.warning
    chance = {"mean over frames": np.full((len(answers), 2), 0.5)}
    better = judge("toys", answers, sequences, chance, ClipRule(), temperature=1.0, warm_s=0.0, seed=1)
    assert better.warning == ""
    figure = better.figures["accuracy"]
    assert figure.value is not None
    assert shown(figure) == f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


# ---- folds -----------------------------------------------------------------------------------------------------------
def test_a_folds_own_best_epoch_never_decides_for_it() -> None:
    assert judging_epochs([30, 5, 7, 6], [30, 30, 30, 30]) == [6, 7, 6, 7]
    assert judging_epochs([5, 9, 9], [12, 7, 12]) == [9, 7, 7]
    assert final_epochs([30, 5, 7, 6, 8]) == 7


def test_a_fold_is_kept_for_the_same_recipe_and_data_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    answers, carried = rng.normal(size=(3, 5, 2)).astype(np.float32), rng.normal(size=(5, 2)).astype(np.float32)
    result = FoldResult(2, answers, carried, np.array([1, 0]), {"mean over frames": np.full((2, 2), 0.5)})
    save_fold(tmp_path / "f.npz", result, "this")
    found = load_fold(tmp_path / "f.npz", "this")
    assert found is not None
    assert found.best_epoch == 2
    assert np.array_equal(found.answers, answers)
    assert found.simple.keys() == {"mean over frames"}
    assert load_fold(tmp_path / "f.npz", "that") is None
    assert load_fold(tmp_path / "none.npz", "this") is None
    assert [len(part) for part in pieces(carried, [2, 3])] == [2, 3]


# ---- event rules -----------------------------------------------------------------------------------------------------
def stream(scores: list[float], truth: list[int]) -> Stream:
    """One score of `alarm` and one label a second."""
    logits = [np.log(np.array([[1 - score, score]], np.float32)) for score in scores]
    sequences = [
        FeatureSequence(f"v{n}", f"g{n}", np.zeros((1, 1), np.float32), np.zeros(1), np.array([label]))
        for n, label in enumerate(truth)
    ]
    return make_stream(logits, sequences, LABELS, ClipRule(length_s=1.0, stride_s=1.0), 1.0, temperature=1.0)


def test_a_stream_is_its_sequences_one_after_the_other() -> None:
    made = stream([0.1, 0.9, 0.9, 0.2], [0, 1, 1, UNLABELLED])
    assert made.runs == [(0.0, 1.0, "quiet"), (1.0, 3.0, "alarm")]
    assert [round(float(clip.probabilities[1]), 3) for clip in made.clips] == [0.1, 0.9, 0.9, 0.2]
    assert [clip.end_s for clip in made.clips] == [1.0, 2.0, 3.0, 4.0]


def test_the_rule_fits_the_scores() -> None:
    low = stream([0.1, 0.1, 0.55, 0.6, 0.58, 0.1, 0.1, 0.1] * 3, [0, 0, 1, 1, 1, 0, 0, 0] * 3)
    rule = choose_rules([low], LABELS, ["alarm"], ClipRule(length_s=1.0, stride_s=1.0))["alarm"]
    assert rule.enter <= 0.55
    noisy_quiet = stream([0.1, 0.6, 0.1, 0.1, 0.9, 0.95, 0.9, 0.1] * 3, [0, 0, 0, 0, 1, 1, 1, 0] * 3)
    rule = choose_rules([noisy_quiet], LABELS, ["alarm"], ClipRule(length_s=1.0, stride_s=1.0))["alarm"]
    assert isinstance(rule, EventRule)
    assert rule.enter > 0.6 or rule.min_duration_s > 0


def test_a_limit_of_false_alarms_is_kept_where_it_can_be() -> None:
    made = stream([0.1, 0.72, 0.1, 0.1, 0.85, 0.85, 0.85, 0.1] * 3, [0, 0, 0, 0, 1, 1, 1, 0] * 3)
    clip = ClipRule(length_s=1.0, stride_s=1.0)
    strict = choose_rules([made], LABELS, ["alarm"], clip, most_false_per_hour=0.0)["alarm"]
    assert strict.enter > 0.72 or strict.min_duration_s > 0
