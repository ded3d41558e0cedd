"""The training loop of every family: truncated backpropagation through time over lanes whose state is carried.

Williams & Peng 1990 (doi 10.1162/neco.1990.2.4.490) with the gradient cut at chunks. The state goes on from chunk to
chunk, as it does when the network serves a stream that never ends.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from engines.errors import TrainingError
from engines.families.contract import State, StreamModel
from engines.training.answers import Answers, answer, clip_scores, macro_map, step_inputs
from engines.training.lanes import WARM_UP_WEIGHT, Chunk, Views, Walk, chunks_of
from engines.training.learning import Learning
from engines.training.losses import StepLoss
from engines.training.progress import Reporter
from engines.training.schedule import cosine
from engines.training.sequences import UNLABELLED, FeatureSequence

FRAMES_AT_ONCE = 16
"""Frames that a fine-tuned encoder holds at once: each slice's activations are computed again for its gradient."""

WALK_SEED, DROPOUT_SEED = 31, 32


class Log(Protocol):
    """Takes one figure of a training, as TensorBoard does."""

    def __call__(self, name: str, value: float, step: int) -> None:
        """`value` of the figure `name` after `step` updates."""


def no_log(name: str, value: float, step: int) -> None:
    """Keep nothing."""
    del name, value, step


@dataclass(frozen=True)
class EpochFigures:
    """One epoch: the loss while learning; on the validation sequences the loss, and accuracy and mAP of clips."""

    train_loss: float
    validation_loss: float = math.nan
    accuracy: float = math.nan
    macro_map: float = math.nan


@dataclass(frozen=True)
class Standing:
    """Where a training stands after whole epochs; plain values and tensors, so that a checkpoint can hold it.

    `best_epoch` counts from 1; `best` is the monitored value, lower is better. `answers` holds, where they were asked
    for, the validation logits of every epoch, one after the other.
    """

    epoch: int = 0
    best_epoch: int = 0
    best: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    history: tuple[dict[str, float], ...] = ()
    answers: tuple[Tensor, ...] = ()


def train_temporal(
    model: StreamModel,
    train: Views,
    validation: Sequence[FeatureSequence],
    settings: Learning,
    seed: int,
    *,
    labels: Sequence[str],
    news: Reporter,
    after_epoch: Callable[[Standing], None] = lambda _: None,
    start: Standing | None = None,
    until: int | None = None,
    log: Log = no_log,
    fine_tuned: bool = False,
    keep_answers: bool = False,
    aggregate: str = "mean",
) -> Standing:
    """Train everything after the encoder, and the encoder too if `fine_tuned`: then the sequences hold uint8 frames.

    Each epoch depends on the seed and its number alone, so that `start` (what `after_epoch` was given) leads to the
    same end. With `validation` the model ends with the weights of its best epoch, else with the last. Training stops
    after epoch `until`, after `settings.epochs`, or when `settings.patience` epochs have brought nothing better.

    Raises:
        TrainingError: there is nothing to learn from, or the loss is no longer a number.
    """
    _check(train, labels)
    standing = start or Standing()
    counts = label_counts(train[0], len(labels))
    loss = StepLoss(settings.loss, counts, label_smoothing=settings.label_smoothing)
    judge = _Judge(validation, StepLoss(settings.loss, counts), settings, aggregate)
    updates = _Updates(model, settings, chunks_of(train, settings), fine_tuned=fine_tuned)
    if not standing.epoch:
        model.eval()
        model.look(_tensors(step_inputs(model, sequence)) for sequence in train[0])
    if standing.weights:
        model.load_state_dict(standing.weights, strict=False)
        updates.optimizer.load_state_dict(standing.optimizer)
    last = min(settings.epochs, until or settings.epochs)
    while standing.epoch < last and not _patience_is_over(standing, settings):
        walk = Walk(train, settings, model.fps, np.random.default_rng([seed, WALK_SEED, standing.epoch]))
        train_loss = updates.epoch(walk, loss, seed=seed, epoch=standing.epoch, news=news, log=log)
        figures, found = judge.judge(model, train_loss)
        step = (standing.epoch + 1) * walk.chunks
        for name, value in asdict(figures).items():
            if not math.isnan(value):
                log(f"epoch/{name}", value, step)
        standing = _advance(standing, model, updates.optimizer, figures, settings, fine_tuned=fine_tuned)
        if keep_answers:
            answers = torch.from_numpy(np.concatenate(found)) if found else torch.empty(0)
            standing = replace(standing, answers=(*standing.answers, answers))
        after_epoch(standing)
    model.load_state_dict(standing.best_weights or standing.weights, strict=False)
    return standing


def _tensors(arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])


def label_counts(sequences: Sequence[FeatureSequence], labels: int) -> np.ndarray:
    """Labelled steps of each label, int64 `[labels]`."""
    every = np.concatenate([sequence.labels for sequence in sequences])
    return np.bincount(every[every != UNLABELLED], minlength=labels)


def portable(model: StreamModel, *, encoder: bool) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, the encoder's only if asked."""
    state = model.state_dict().items()
    return {name: value.clone() for name, value in state if encoder or not name.startswith("encoder.")}


def _check(train: Views, labels: Sequence[str]) -> None:
    if not train or not train[0] or not label_counts(train[0], len(labels)).any():
        raise TrainingError("there is no labelled step to learn from: check the data's labels and splits")
    for sequence in train[0]:
        if sequence.labels.max(initial=0) >= len(labels):
            raise TrainingError(
                f"{sequence.name} has label number {sequence.labels.max()}, and there are only {len(labels)} labels"
            )


def _patience_is_over(standing: Standing, settings: Learning) -> bool:
    return 0 < settings.patience <= standing.epoch - standing.best_epoch and standing.best_epoch > 0


def _advance(
    standing: Standing,
    model: StreamModel,
    optimizer: torch.optim.Optimizer,
    figures: EpochFigures,
    settings: Learning,
    *,
    fine_tuned: bool,
) -> Standing:
    weights = portable(model, encoder=fine_tuned)
    monitored = {"loss": figures.validation_loss, "macro_map": -figures.macro_map, "none": -float(standing.epoch + 1)}
    value = monitored[settings.monitor]
    better = value < standing.best  # never so where nothing was judged: NaN
    return replace(
        standing,
        epoch=standing.epoch + 1,
        best=value if better else standing.best,
        best_epoch=standing.epoch + 1 if better else standing.best_epoch,
        best_weights=weights if better else standing.best_weights,
        weights=weights,
        optimizer=copy.deepcopy(optimizer.state_dict()),
        history=(*standing.history, asdict(figures)),
    )


class _Updates:
    """Makes the updates of one training; keeps the optimizer."""

    def __init__(self, model: StreamModel, settings: Learning, chunks: int, *, fine_tuned: bool) -> None:
        self._model, self._settings, self._fine_tuned = model, settings, fine_tuned
        self._total = settings.epochs * chunks
        named = dict(model.named_parameters())
        self._parameters = [p for name, p in named.items() if not name.startswith("encoder.") and p.requires_grad]
        self._peaks = [settings.learning_rate]
        groups: list[dict[str, Any]] = [{"params": self._parameters}]
        if fine_tuned:
            encoder = list(model.encoder.requires_grad_(requires_grad=True).parameters())
            groups.append({"params": encoder})
            self._peaks.append(settings.encoder_learning_rate)
            self._parameters = [*self._parameters, *encoder]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)

    def epoch(self, walk: Walk, loss: StepLoss, *, seed: int, epoch: int, news: Reporter, log: Log) -> float:
        """Learn one epoch; the mean loss of its updates."""
        self._model.train()
        state = self._model.init_state(self._settings.lanes)
        losses = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([seed, DROPOUT_SEED, epoch]).generate_state(1)[0]))
            for index in range(walk.chunks):
                done = epoch * walk.chunks + index
                rate = self._set_rate(done)
                value, state = self._learn(walk.next(), state, loss)
                if not math.isfinite(value):
                    raise TrainingError(
                        f"the loss became {value} in epoch {epoch + 1}: lower learning.learning_rate (it is "
                        f"{self._settings.learning_rate:g}) or look for features that are no numbers"
                    )
                losses.append(value)
                log("update/loss", value, done + 1)
                log("update/learning_rate", rate, done + 1)
                news.advance(1, f"epoch {epoch + 1}, loss {value:.3f}")
        return float(np.mean(losses))

    def _set_rate(self, done: int) -> float:
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = cosine(peak, done, self._total)
        return float(self.optimizer.param_groups[0]["lr"])

    def _learn(self, chunk: Chunk, state: State, loss: StepLoss) -> tuple[float, State]:
        fresh = torch.from_numpy(chunk.fresh)
        state = tuple(torch.where(fresh.reshape(-1, *[1] * (s.dim() - 1)), torch.zeros_like(s), s) for s in state)
        features = self._features(torch.from_numpy(chunk.features))
        logits, state = self._model(features, torch.from_numpy(chunk.dt), state)
        weight = torch.from_numpy(chunk.weight)
        each = loss(logits, torch.from_numpy(chunk.labels)) * weight
        total = each.sum() / weight.sum().clamp_min(1.0) + self._model.penalty()
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.clip_norm)
        self.optimizer.step()
        return float(total.detach()), tuple(s.detach() for s in state)

    def _features(self, given: Tensor) -> Tensor:
        """Features `[B, T, *features]`: as they are, or of frames `[B, T, H, W, 3]` with the encoder in the graph."""
        if not self._fine_tuned:
            return given
        slices = torch.split(given.flatten(0, 1), FRAMES_AT_ONCE)
        seen = torch.cat([checkpoint(self._model.encoder, part, use_reentrant=False) for part in slices])
        return torch.unflatten(seen, 0, given.shape[:2])


class _Judge:
    """Judges a network on the validation sequences after each epoch."""

    def __init__(
        self, sequences: Sequence[FeatureSequence], loss: StepLoss, settings: Learning, aggregate: str
    ) -> None:
        self._sequences, self._loss, self._settings, self._aggregate = sequences, loss, settings, aggregate

    def judge(self, model: StreamModel, train_loss: float) -> tuple[EpochFigures, Answers]:
        """The epoch's figures, and the logits they rest on."""
        if not self._sequences:
            return EpochFigures(train_loss), []
        found = answer(model, self._sequences)
        clips = clip_scores(found, self._sequences, self._aggregate)
        return EpochFigures(train_loss, self._mean_loss(found), clips.accuracy, macro_map(clips)), found

    def _mean_loss(self, found: Answers) -> float:
        """Mean over sequences, so that a long one does not decide alone; weighted as in training."""
        values = []
        for logits, sequence in zip(found, self._sequences, strict=True):
            weight = np.where(np.arange(len(sequence)) < self._settings.warm_up_steps, WARM_UP_WEIGHT, 1.0)
            weight *= sequence.labels != UNLABELLED
            if weight.any():
                each = self._loss(torch.from_numpy(logits), torch.from_numpy(np.maximum(sequence.labels, 0)))
                values.append(float((each.numpy() * weight).sum() / weight.sum()))
        return float(np.mean(values)) if values else math.nan
