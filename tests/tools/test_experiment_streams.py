"""The tasks with known answers: what their generators draw is what they say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from digits import Digits, small_digits
from moving import FRAMES, SPEED, enlarged, paths, sequences
from streams import (
    CUES,
    EMPTY,
    as_sequence,
    cue_stream,
    kept_ticks,
    one_cue_stream,
    remembered,
    visit_stream,
    with_empty,
)

from engines.training.sequences import UNLABELLED


@pytest.fixture(scope="module")
def digits() -> Digits:
    return small_digits()


def test_the_answer_is_the_last_cue() -> None:
    names = np.array([0, 3, 7, 5])
    alphabet = Digits(np.zeros((4, 1, 1), np.uint8), names)
    stream = remembered(alphabet, np.array([0, 3, 1, 0, 2, 0, 0, 1, 1, 3]))
    assert stream.labels.tolist() == [UNLABELLED, UNLABELLED, 1, 1, 0, 0, 0, 1, 1, 1]
    assert stream.age.tolist() == [-1, -1, 0, 1, 0, 1, 2, 0, 0, 1]


def test_cues_come_as_often_as_asked(digits: Digits) -> None:
    stream = cue_stream(digits, 40_000, 50.0, np.random.default_rng(0))
    is_cue = np.isin(digits.names[stream.shown], CUES)
    assert 0.017 < is_cue.mean() < 0.023
    assert (stream.age[is_cue] == 0).all()


def test_after_the_last_cue_nothing_reminds_of_it(digits: Digits) -> None:
    stream = one_cue_stream(digits, 20, 500, np.random.default_rng(1))
    is_cue = np.isin(digits.names[stream.shown], CUES)
    assert is_cue[20]
    assert not is_cue[21:].any()
    assert stream.age[20:].tolist() == list(range(501))
    assert len(set(stream.labels[20:].tolist())) == 1


def test_a_visit_counts_from_when_it_began(digits: Digits) -> None:
    both = with_empty(digits, np.random.default_rng(2))
    assert (both.names[-EMPTY:] == -1).all()
    stream = visit_stream(both, 5000, 40, np.random.default_rng(3))
    run = 0
    for name, label in zip(both.names[stream.shown], stream.labels, strict=True):
        run = run + 1 if name >= 0 else 0
        assert label == (run >= 40)
    assert 0.2 < stream.labels.mean() < 0.6


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4, 0.8])
def test_losses_come_in_bursts_at_the_asked_rate(rate: float) -> None:
    kept = kept_ticks(100_000, rate, 4.0, np.random.default_rng(4))
    assert abs(1.0 - len(kept) / 100_000 - rate) < 0.02
    bursts = np.diff(kept)[np.diff(kept) > 1] - 1
    assert not rate or abs(bursts.mean() - 4.0) < 0.2


def test_bursts_too_short_for_the_rate_are_refused() -> None:
    with pytest.raises(ValueError, match="bursts of 2 ticks cannot lose 80% of a stream"):
        kept_ticks(100, 0.8, 2.0, np.random.default_rng(0))


def test_a_sequence_holds_the_features_of_what_was_shown(digits: Digits) -> None:
    stream = cue_stream(digits, 30, 5.0, np.random.default_rng(5))
    bank = np.arange(len(digits), dtype=np.float32)[:, None]
    sequence = as_sequence(stream, bank, 8.0, "s")
    assert sequence.features[:, 0].tolist() == stream.shown.tolist()
    assert np.diff(sequence.times_s).tolist() == [0.125] * 29


def test_held_out_digits_are_others(digits: Digits) -> None:
    known, unknown = digits.divide(497, seed=0)
    assert (len(known), len(unknown)) == (1300, 497)
    pictures = {picture.tobytes() for picture in known.pictures}
    assert sum(picture.tobytes() in pictures for picture in unknown.pictures) <= 3  # the set itself repeats a few


def test_moving_digits_keep_their_speed_and_stay_inside(digits: Digits) -> None:
    way = paths(200, np.random.default_rng(6))
    assert way.min() >= 0
    assert way.max() <= 1
    steps = np.linalg.norm(np.diff(way, axis=1), axis=-1)
    assert steps.max() < SPEED + 1e-9
    assert np.median(steps) == pytest.approx(SPEED)  # all but those that bounce
    films = sequences(enlarged(digits, 16), 3, 32, np.random.default_rng(7))
    assert films.shape == (3, FRAMES, 32, 32)
    assert (films.reshape(3 * FRAMES, -1).max(1) > 128).all()
    assert (films[:, 1:] != films[:, :-1]).any(axis=(2, 3)).all()
