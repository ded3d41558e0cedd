"""Stage 1: the encoder learns from shuffled single pictures what stands and walks where."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from engines.families.cnn_lstm import CnnLstm
from engines.training.progress import Reporter
from engines.training.scene.pictures import PictureBatch, augment
from engines.training.scene.recipe import Pictures
from engines.training.schedule import cosine

RARE = torch.tensor([3.0, 3.0, 3.0, 6.0])[None, :, None, None]
"""How much more a cell with something in it counts: person, standing, carried, bending."""


def train_encoder(
    model: CnnLstm,
    data: PictureBatch,
    settings: Pictures,
    seed: int,
    *,
    optimizer: torch.optim.Optimizer,
    first_epoch: int,
    after_epoch: Callable[[int], None],
    news: Reporter,
) -> None:
    """Train `model.encoder` from `first_epoch` on; each epoch depends on the seed and its number alone."""
    batches = len(data.frames) // settings.batch
    for epoch in range(first_epoch, settings.epochs):
        rng = np.random.default_rng([seed, 21, epoch])
        order = rng.permutation(len(data.frames))[: batches * settings.batch].reshape(batches, settings.batch)
        model.encoder.train()
        for index, chosen in enumerate(order):
            rate = cosine(settings.learning_rate, epoch * batches + index, settings.epochs * batches)
            loss = _learn(model, optimizer, rate, *_batch(data, np.sort(chosen), rng))
            news.advance(1, f"loss {loss:.4f}")
        after_epoch(epoch + 1)


def _batch(data: PictureBatch, chosen: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    frames, maps = augment(data.frames[chosen], rng), data.maps[chosen]
    mirrored = rng.random(len(chosen)) < 0.5
    frames[mirrored] = frames[mirrored, :, ::-1]
    maps[mirrored] = maps[mirrored, :, :, ::-1]
    return torch.from_numpy(frames), torch.from_numpy(maps).float() / 255.0


def _learn(
    model: CnnLstm, optimizer: torch.optim.Optimizer, rate: float, frames: torch.Tensor, maps: torch.Tensor
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    logits = model.maps(frames)
    loss = functional.binary_cross_entropy_with_logits(logits, maps, weight=1.0 + RARE * maps)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.encoder.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())
