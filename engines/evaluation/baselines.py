"""What simple models make of the same features: the least that a recurrent one has to beat.

A logistic regression each on the features of the middle frame, on their mean over the clip, and on the mean beside the
mean absolute difference between frames.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import MissingExtraError, ModelError
from engines.training.sequences import UNLABELLED, FeatureSequence

Vector = NDArray[np.float64]

BASELINES = "baselines.npz"
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of C that cross-validation chooses from."""
FOLDS = 5
_PARTS = ("centre", "scale", "weights", "bias")


def pooled(features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Features `[F, D]`; maps `[F, C, h, w]` are averaged over the grid."""
    if features.ndim == 2:
        return np.asarray(features, np.float32)
    axes = tuple(range(2, features.ndim))
    return np.asarray(features.mean(axes, dtype=np.float32), np.float32) if axes else features[:, None]


def middle_frame(features: NDArray[np.floating[Any]]) -> Vector:
    """The middle one of frames `[F, D]`."""
    return np.asarray(features[len(features) // 2], np.float64)


def frame_mean(features: NDArray[np.floating[Any]]) -> Vector:
    """The mean of frames `[F, D]`."""
    return np.asarray(features.mean(0, dtype=np.float64))


def mean_and_difference(features: NDArray[np.floating[Any]]) -> Vector:
    """The mean of frames `[F, D]`, and beside it the mean absolute difference between neighbours: `[2 * D]`."""
    change = np.abs(np.diff(features.astype(np.float64), axis=0))
    return np.concatenate([frame_mean(features), change.mean(0) if len(change) else np.zeros(features.shape[1])])


SUMMARIES = {
    "single frame": middle_frame,
    "mean over frames": frame_mean,
    "mean + |difference|": mean_and_difference,
}
"""What each baseline looks at: features `[F, D]` to one vector."""


@dataclass(frozen=True)
class Logistic:
    """Multinomial logistic regression on standardised inputs: softmax of `(x - centre) / scale @ weights + bias`."""

    centre: Vector  # [D]
    scale: Vector  # [D]
    weights: Vector  # [D, C]
    bias: Vector  # [C]; -inf for a label that training never saw

    def predict(self, inputs: Vector) -> Vector:
        """Probabilities `[C]` of one input `[D]`."""
        logits = ((inputs - self.centre) / self.scale) @ self.weights + self.bias
        odds = np.exp(logits - logits.max())
        return np.asarray(odds / odds.sum())


@dataclass(frozen=True)
class Baselines:
    """A fitted model for each of `SUMMARIES`, by its name."""

    models: Mapping[str, Logistic]

    def predict(self, features: NDArray[np.floating[Any]]) -> dict[str, Vector]:
        """Each baseline's probabilities `[C]` of one clip, whose frames are features `[F, *features]`.

        What lies behind the features that it was fitted on is not looked at.
        """
        frames = pooled(features)[:, : len(self.models["single frame"].centre)]
        return {name: model.predict(SUMMARIES[name](frames)) for name, model in self.models.items()}


@dataclass(frozen=True)
class _Clip:
    features: NDArray[np.float32]  # [F, D]
    label: int
    group: str


def fit_baselines(
    sequences: Sequence[FeatureSequence], labels: Sequence[str], *, clip_s: float = float("inf"), seed: int = 0
) -> Baselines:
    """Fit every baseline on the labelled parts of sequences, cut into clips of at most `clip_s` seconds.

    The strength of regularisation is chosen by cross-validated log loss over groups.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        ValueError: fewer than two labels occur.
    """
    clips = [clip for sequence in sequences for clip in _cut(sequence, clip_s)]
    if len({clip.label for clip in clips}) < 2:
        raise ValueError("baselines need clips of two or more labels")
    truth = np.array([clip.label for clip in clips])
    groups = np.array([clip.group for clip in clips])
    models = {}
    for name, summary in SUMMARIES.items():
        inputs = np.stack([summary(clip.features) for clip in clips])
        models[name] = _fit(inputs, truth, groups, len(labels), seed)
    return Baselines(models)


def encode_baselines(baselines: Baselines) -> bytes:
    """The bytes of a `baselines.npz`, without pickle; weights as float32."""
    arrays: dict[str, NDArray[Any]] = {"names": np.array(list(baselines.models))}
    for index, model in enumerate(baselines.models.values()):
        arrays |= {f"{part}_{index}": getattr(model, part).astype(np.float32) for part in _PARTS}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def decode_baselines(data: bytes, origin: str = BASELINES) -> Baselines:
    """What `encode_baselines` wrote; `origin` is what errors call it.

    Raises:
        ModelError: the bytes are damaged or hold something else.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            names = [str(name) for name in file["names"]]
            parts = [[file[f"{part}_{index}"].astype(np.float64) for part in _PARTS] for index in range(len(names))]
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{origin} holds no baselines or is damaged: train the model again") from error
    if unknown := [name for name in names if name not in SUMMARIES]:
        raise ModelError(f"{origin} has the unknown baseline {unknown[0]!r}: it was written by another vidpipe")
    return Baselines({name: Logistic(*values) for name, values in zip(names, parts, strict=True)})


def _cut(sequence: FeatureSequence, clip_s: float) -> list[_Clip]:
    """Runs of one label, cut where they get longer than `clip_s`; what has no label is left out."""
    frames = pooled(sequence.features)
    clips, first = [], 0
    for step in range(1, len(sequence) + 1):
        over = step == len(sequence) or sequence.labels[step] != sequence.labels[first]
        if not over and sequence.times_s[step] - sequence.times_s[first] < clip_s - 1e-9:
            continue
        if sequence.labels[first] != UNLABELLED:
            clips.append(_Clip(frames[first:step], int(sequence.labels[first]), sequence.group))
        first = step
    return clips


def _fit(inputs: Vector, truth: NDArray[np.int64], groups: NDArray[np.str_], count: int, seed: int) -> Logistic:
    try:
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise MissingExtraError("the baselines of an evaluation", "scikit-learn", "evaluate") from error
    centre, scale = inputs.mean(0), inputs.std(0)
    scale = np.where(scale > 1e-8, scale, 1.0)
    strength = _choose_strength(inputs, truth, groups, seed)
    model = LogisticRegression(C=strength, max_iter=2000).fit((inputs - centre) / scale, truth)
    weights, bias = np.zeros((inputs.shape[1], count)), np.full(count, -np.inf)
    if len(model.classes_) == 2:
        # two classes share one row of weights: the other's are zero
        weights[:, model.classes_[1]], bias[model.classes_] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        weights[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return Logistic(centre, scale, weights, bias)


def _choose_strength(inputs: Vector, truth: NDArray[np.int64], groups: NDArray[np.str_], seed: int) -> float:
    """The C with the least log loss on held-out groups; a strong one where groups are too few."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - optional
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    # a fold without one of the labels cannot be fitted: each label's groups bound the number of folds
    folds = min(FOLDS, *(len(set(groups[truth == label].tolist())) for label in np.unique(truth)))
    if folds < 2:
        return STRENGTHS[1]
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = [part for part in split.split(inputs, truth, groups) if set(truth[part[1]]) <= set(truth[part[0]])]

    def loss(strength: float) -> float:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        wrong = 0.0
        for learnt, held in parts:
            columns = {label: column for column, label in enumerate(np.unique(truth[learnt]))}
            said = model.fit(inputs[learnt], truth[learnt]).predict_proba(inputs[held])
            right = said[np.arange(len(held)), [columns[label] for label in truth[held]]]
            wrong -= float(np.log(np.maximum(right, 1e-12)).sum())
        return wrong

    return min(STRENGTHS, key=loss) if parts else STRENGTHS[1]
