"""What a network says of whole sequences, each from zero state, and how good that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from engines.clips import aggregate
from engines.evaluation.metrics import Judged, mean_average_precision
from engines.evaluation.resampling import Undefined
from engines.families.contract import StreamModel
from engines.training.features import encode
from engines.training.sequences import UNLABELLED, FeatureSequence

ROWS, STEPS = 32, 256
"""Sequences side by side, and steps at once."""

Answers = list[NDArray[np.float32]]
"""Of each sequence its logits float32 `[F, labels]`."""


@dataclass(frozen=True)
class ClipScores:
    """N clips: runs of one label in a sequence."""

    scores: NDArray[np.float32]  # [N, labels], each row sums to 1
    truth: NDArray[np.int64]  # [N]
    groups: tuple[str, ...]  # [N]
    names: tuple[str, ...]  # [N] of the sequences

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def accuracy(self) -> float:
        """Share of clips whose most probable label is the true one."""
        return float((self.scores.argmax(1) == self.truth).mean()) if len(self) else math.nan


def answer(model: StreamModel, sequences: Sequence[FeatureSequence], *, carry: bool = False) -> Answers:
    """Logits of each sequence; sequences of uint8 frames go through the encoder first.

    With `carry` they are one stream: the state goes on from one to the next, a nominal period apart.
    """
    model.eval()
    with torch.inference_mode():
        if carry:
            joined = [np.concatenate(parts) for parts in zip(*(step_inputs(model, s) for s in sequences), strict=True)]
            logits = _run(model, joined[0][None], joined[1][None])[0]
            return np.split(logits, np.cumsum([len(sequence) for sequence in sequences])[:-1])
        found: dict[int, NDArray[np.float32]] = {}
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        for at in range(0, len(order), ROWS):
            rows = order[at : at + ROWS]
            seen = [step_inputs(model, sequences[index]) for index in rows]
            logits = _run(model, _padded([features for features, _ in seen]), _padded([dt for _, dt in seen]))
            found |= {index: row[: len(sequences[index])] for index, row in zip(rows, logits, strict=True)}
    return [found[index] for index in range(len(sequences))]


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities float32 `[F, labels]`."""
    scaled = logits.astype(np.float64) / temperature
    power = np.exp(scaled - scaled.max(-1, keepdims=True))
    return np.asarray(power / power.sum(-1, keepdims=True), np.float32)


def clip_scores(
    answers: Answers,
    sequences: Sequence[FeatureSequence],
    how: str,
    *,
    temperature: float = 1.0,
    warm_s: float = 0.0,
) -> ClipScores:
    """The score of each run of one label, aggregated as clips are served.

    Steps less than `warm_s` after the sequence's first (see `warm_from_s`) are left out where others exist.
    """
    scores, truth, groups, names = [], [], [], []
    for logits, sequence in zip(answers, sequences, strict=True):
        probabilities = softmax(logits, temperature)
        warm = sequence.times_s - sequence.times_s[0] >= warm_s
        for start, end in runs(sequence.labels):
            inside = np.arange(start, end)
            chosen = inside[warm[start:end]] if warm[start:end].any() else inside
            scores.append(aggregate(probabilities[chosen], how))
            truth.append(int(sequence.labels[start]))
            groups.append(sequence.group)
            names.append(sequence.name)
    table = np.stack(scores) if scores else np.zeros((0, answers[0].shape[1] if answers else 0), np.float32)
    return ClipScores(table, np.array(truth, np.int64), tuple(groups), tuple(names))


def runs(labels: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Half-open index ranges of equal labels, without what has no label."""
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return [(start, end) for start, end in pairwise(edges) if end > start and labels[start] != UNLABELLED]


def macro_map(clips: ClipScores) -> float:
    """Mean over labels of the average precision of clips; labels that all or no clips have are left out, NaN if all."""
    judged = Judged(clips.scores.astype(np.float64), clips.truth, np.arange(len(clips)))
    try:
        return mean_average_precision(judged, range(clips.scores.shape[1]))(np.ones(len(clips)))
    except Undefined:
        return math.nan


def step_inputs(model: StreamModel, sequence: FeatureSequence) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a step reads of a sequence from a stream's start on: features float32 `[F, *features]` and dt float32 `[F]`.

    Frames go through the encoder first; the model must be in evaluation mode.
    """
    features = sequence.features
    if features.dtype == np.uint8:
        features = encode(model, features)
    dt = np.diff(sequence.times_s, prepend=sequence.times_s[0] - 1.0 / model.fps)
    return features.astype(np.float32), dt.astype(np.float32)


def _padded(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """One array `[N, T, ...]`; what is added at the ends cannot change what came before it."""
    padded = np.ones((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), np.float32)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded


def _run(model: StreamModel, features: NDArray[np.float32], dt: NDArray[np.float32]) -> NDArray[np.float32]:
    state, parts = None, []
    for at in range(0, dt.shape[1], STEPS):
        piece = slice(at, at + STEPS)
        logits, state = model(torch.from_numpy(features[:, piece]), torch.from_numpy(dt[:, piece]), state)
        parts.append(logits.numpy())
    return np.concatenate(parts, 1)
