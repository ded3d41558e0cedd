"""Baselines find what is in their features, and no more; they are stored without pickle."""

from __future__ import annotations

import numpy as np
import pytest

from engines.errors import ModelError
from engines.evaluation.baselines import (
    SUMMARIES,
    Baselines,
    decode_baselines,
    encode_baselines,
    fit_baselines,
    mean_and_difference,
    middle_frame,
    pooled,
)
from engines.training.sequences import UNLABELLED, FeatureSequence

LABELS = ("calm", "busy")


def sequence(rng: np.random.Generator, number: int, label: int, *, steps: int = 12) -> FeatureSequence:
    """Busy ones flicker about the same mean: only differences tell."""
    frames = rng.normal(size=(1, 6)) + (0.2 + 0.6 * label) * rng.normal(size=(steps, 6))
    return FeatureSequence(
        f"clip{number}", f"group{number // 3}", frames, np.arange(steps) / 8, np.full(steps, label, np.int64)
    )


def made(seed: int, count: int) -> list[FeatureSequence]:
    rng = np.random.default_rng(seed)
    return [sequence(rng, number, number % 2) for number in range(count)]


def right(baselines: Baselines, sequences: list[FeatureSequence]) -> dict[str, float]:
    said = [baselines.predict(each.features) for each in sequences]
    truth = [int(each.labels[0]) for each in sequences]
    return {
        name: float(np.mean([one[name].argmax() == label for one, label in zip(said, truth, strict=True)]))
        for name in SUMMARIES
    }


@pytest.fixture(scope="module")
def fitted() -> Baselines:
    return fit_baselines(made(1, 60), LABELS)


def test_differences_see_what_a_frame_does_not(fitted: Baselines) -> None:
    share = right(fitted, made(2, 60))
    assert share["mean + |difference|"] >= 0.95
    assert share["single frame"] <= 0.75


def test_what_is_stored_is_what_was_fitted(fitted: Baselines) -> None:
    again = decode_baselines(encode_baselines(fitted))
    for each in made(3, 6):
        for name, said in fitted.predict(each.features).items():
            assert said.sum() == pytest.approx(1.0)
            np.testing.assert_allclose(again.predict(each.features)[name], said, atol=1e-5)


@pytest.mark.parametrize("data", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_damaged_bytes_are_one_error(data: bytes) -> None:
    with pytest.raises(ModelError, match="no baselines or is damaged"):
        decode_baselines(data)


def test_summaries_by_hand() -> None:
    frames = np.array([[0.0, 1.0], [2.0, 1.0], [1.0, 4.0]])
    assert middle_frame(frames).tolist() == [2.0, 1.0]
    assert mean_and_difference(frames).tolist() == [1.0, 2.0, 1.5, 1.5]
    assert mean_and_difference(frames[:1]).tolist() == [0.0, 1.0, 0.0, 0.0]
    maps = np.arange(24.0).reshape(1, 2, 3, 4)
    assert pooled(maps).tolist() == [[5.5, 17.5]]


def test_three_labels_and_one_never_seen() -> None:
    rng = np.random.default_rng(0)
    centres = 4 * np.eye(4)[:, :4]
    sequences = [
        FeatureSequence(
            str(n), str(n), centres[n % 3] + rng.normal(size=(6, 4)), np.arange(6) / 8, np.full(6, n % 3, np.int64)
        )
        for n in range(30)
    ]
    fitted = fit_baselines(sequences, ("a", "b", "c", "never"))
    for each in sequences[:3]:
        for said in fitted.predict(each.features).values():
            assert said[3] == 0.0
            assert int(said.argmax()) == int(each.labels[0])
    assert decode_baselines(encode_baselines(fitted)).predict(sequences[0].features)["single frame"][3] == 0.0


def test_long_videos_are_cut_and_unlabelled_time_is_left_out() -> None:
    """A video that changes its label twice gives clips of either; the same features without labels give none."""
    rng = np.random.default_rng(7)
    long = []
    for number in range(4):
        parts = [sequence(rng, number, label, steps=80) for label in (0, 1, 0)]
        features = np.concatenate([part.features for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        labels[100:110] = UNLABELLED
        features[100:110] = 1e6
        long.append(FeatureSequence(str(number), str(number), features, np.arange(240) / 8, labels))
    fitted = fit_baselines(long, LABELS, clip_s=2.0)
    assert right(fitted, made(5, 40))["mean + |difference|"] >= 0.9


def test_one_label_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more labels"):
        fit_baselines([each for each in made(1, 8) if each.labels[0] == 0], LABELS)
