"""Endless streams of digits whose right answer is known: the last cue, how long something stays, and lost frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from digits import Digits

from engines.training.sequences import UNLABELLED, FeatureSequence

CUES = (7, 3)
"""The digits to remember; the answer is the index of the one that was seen last."""

EMPTY = 64
"""Pictures of nothing, beside those of digits."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """F ticks.

    Attributes:
        shown: int64 `[F]`, number of the picture at each tick.
        labels: int64 `[F]`, the right answer, `UNLABELLED` where there is none yet.
        age: int64 `[F]`, ticks since what the answer rests on; -1 where there is none yet.
    """

    shown: Numbers
    labels: Numbers
    age: Numbers


def cue_stream(digits: Digits, ticks: int, mean_gap: float, rng: np.random.Generator) -> Stream:
    """One picture a tick, on average every `mean_gap` ticks a cue; the answer is which cue came last."""
    is_cue = rng.random(ticks) < 1.0 / mean_gap
    return remembered(digits, np.where(is_cue, _any(digits, ticks, rng, cue=True), _any(digits, ticks, rng, cue=False)))


def one_cue_stream(digits: Digits, before: int, after: int, rng: np.random.Generator) -> Stream:
    """A busy start of `before` ticks with cues among them, one last cue, then `after` ticks without any."""
    start = cue_stream(digits, before, 8.0, rng).shown
    parts = [start, _any(digits, 1, rng, cue=True), _any(digits, after, rng, cue=False)]
    return remembered(digits, np.concatenate(parts))


def remembered(digits: Digits, shown: Numbers) -> Stream:
    """The answers to a stream of pictures."""
    ticks = np.arange(len(shown))
    is_cue = np.isin(digits.names[shown], CUES)
    last = np.maximum.accumulate(np.where(is_cue, ticks, -1))
    answer = (digits.names[shown[last]] == CUES[1]).astype(np.int64)
    return Stream(shown, np.where(last < 0, UNLABELLED, answer), np.where(last < 0, -1, ticks - last))


def _any(digits: Digits, count: int, rng: np.random.Generator, *, cue: bool) -> Numbers:
    return rng.choice(np.flatnonzero(np.isin(digits.names, CUES) == cue), count)


def with_empty(digits: Digits, rng: np.random.Generator) -> Digits:
    """The digits, and after them `EMPTY` pictures of faint noise, named -1."""
    noise = rng.integers(0, 96, (EMPTY, *digits.pictures.shape[1:]), dtype=np.uint8)
    return Digits(np.concatenate([digits.pictures, noise]), np.concatenate([digits.names, np.full(EMPTY, -1)]))


def visit_stream(digits: Digits, ticks: int, long: int, rng: np.random.Generator) -> Stream:
    """Something (any digit, another picture of it at each tick) comes and goes; is it here for `long` ticks yet?

    Visits last up to three times `long`, pauses up to `long`.
    """
    lengths = np.stack([rng.integers(5, long, ticks // 5), rng.integers(5, 3 * long, ticks // 5)], 1).ravel()
    visible = np.repeat(np.tile([False, True], ticks // 5), lengths)[:ticks]
    nothing, digit = np.flatnonzero(digits.names < 0), np.flatnonzero(digits.names >= 0)
    shown = np.where(visible, rng.choice(digit, ticks), rng.choice(nothing, ticks))
    tick = np.arange(ticks)
    age = tick - np.maximum.accumulate(np.where(visible, -1, tick))
    return Stream(shown, (age >= long).astype(np.int64), age)


def kept_ticks(ticks: int, rate: float, mean_burst: float, rng: np.random.Generator) -> Numbers:
    """The ticks that are not lost, where a share `rate` is, in bursts of `mean_burst` (a channel of Gilbert 1960)."""
    if rate <= 0.0:
        return np.arange(ticks)
    pause = mean_burst * (1.0 - rate) / rate
    if pause < 0.999:
        raise ValueError(f"bursts of {mean_burst:g} ticks cannot lose {rate:.0%} of a stream: make them longer")
    turns = ticks // 2 + 1
    lengths = np.stack([rng.geometric(min(1.0, 1.0 / pause), turns), rng.geometric(1.0 / mean_burst, turns)], 1).ravel()
    kept = np.flatnonzero(np.repeat(np.tile([True, False], turns), lengths)[:ticks])
    return kept if len(kept) else np.zeros(1, np.int64)


def as_sequence(stream: Stream, bank: npt.NDArray[np.float32], rate_hz: float, name: str) -> FeatureSequence:
    """What a network reads of a stream: `bank[k]` is the encoder's features of picture k."""
    times_s = np.arange(len(stream.shown)) / rate_hz
    return FeatureSequence(name, name, bank[stream.shown], times_s, stream.labels)
