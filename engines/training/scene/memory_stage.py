"""Stage 2: the recurrent part learns in hundreds of lanes by truncated backpropagation through time.

State is carried from chunk to chunk and cut off from the gradient; a lane starts from zero with each new scene and, at
random, in between, so that starting up stays trained. At first only the cells' evidence is learnt: with the labels from
the beginning the network settles for what it can tell without memory of places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engines.families.cnn_lstm import EVIDENCE, CnnLstm
from engines.families.contract import State
from engines.training.progress import Reporter
from engines.training.scene.lanes import Chunk, Lane, Walk
from engines.training.scene.recipe import Memory
from engines.training.schedule import cosine

RARE_EVIDENCE = 4.0
"""How much more a cell with something in it counts."""


def memory_parameters(model: CnnLstm) -> list[torch.nn.Parameter]:
    """All parameters but the encoder's."""
    return [value for name, value in model.named_parameters() if not name.startswith("encoder.")]


def train_memory(
    model: CnnLstm,
    scenes: Sequence[Lane],
    settings: Memory,
    seed: int,
    *,
    optimizer: torch.optim.Optimizer,
    first_epoch: int,
    after_epoch: Callable[[int], None],
    news: Reporter,
) -> None:
    """Train all but the encoder from `first_epoch` on; each epoch depends on the seed and its number alone."""
    model.train()
    for epoch in range(first_epoch, settings.epochs):
        walk = Walk(scenes, settings, model.grid, model.fps, np.random.default_rng([seed, 22, epoch]))
        state = model.init_state(settings.lanes)
        right = 0.0
        for index in range(walk.chunks):
            done, total = epoch * walk.chunks + index, settings.epochs * walk.chunks
            pace = _Pace(
                cosine(settings.learning_rate, done, total), done >= settings.evidence_first * total, settings.clip_norm
            )
            loss, accuracy, state = _learn(model, optimizer, walk.next(), state, pace)
            right += 0.05 * (accuracy - right)
            news.advance(1, f"loss {loss:.3f}, right {right:.3f}")
        after_epoch(epoch + 1)


class _Pace(NamedTuple):
    """How one update is made."""

    rate: float
    labels: bool
    clip_norm: float


def _learn(
    model: CnnLstm, optimizer: torch.optim.Optimizer, chunk: Chunk, state: State, pace: _Pace
) -> tuple[float, float, State]:
    for group in optimizer.param_groups:
        group["lr"] = pace.rate
    fresh = torch.from_numpy(chunk.fresh)
    state = tuple(torch.where(fresh.reshape(-1, *[1] * (s.dim() - 1)), torch.zeros_like(s), s) for s in state)
    logits, evidence, state = model.explain(torch.from_numpy(chunk.features), torch.from_numpy(chunk.dt), state)
    labels, weight = torch.from_numpy(chunk.labels), torch.from_numpy(chunk.weight)
    loss = _evidence_loss(evidence, chunk)
    if pace.labels:
        each = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        loss = loss + (each * weight.flatten()).sum() / weight.sum()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(memory_parameters(model), pace.clip_norm)
    optimizer.step()
    right = (logits.argmax(2) == labels)[weight >= 1.0].float().mean()
    return float(loss.detach()), float(right), tuple(s.detach() for s in state)


def _evidence_loss(evidence: Tensor, chunk: Chunk) -> Tensor:
    """How badly the cells know what memory should know; only of lanes that were watched from the start."""
    bits = torch.from_numpy(np.ascontiguousarray(chunk.evidence))[:, :, None]
    masks = torch.tensor([1 << bit for bit in range(len(EVIDENCE))], dtype=torch.uint8)[:, None, None]
    target = (bits & masks).ne(0).float()
    weight = (1.0 + RARE_EVIDENCE * target) * torch.from_numpy(chunk.knows)[:, None, None, None, None]
    each = functional.binary_cross_entropy_with_logits(evidence, target, reduction="none")
    # a cell is one of many: the sum over the grid keeps its gradient from drowning in the mean
    return (each * weight).sum((2, 3, 4)).mean() / 16.0
