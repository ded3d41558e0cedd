"""What the stream experiments see with: the encoder `conv`, taught single digits first, then frozen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from digits import Digits
from torch import Tensor, nn
from torch.nn import functional

from engines.encoders import build_encoder, find_encoder
from engines.families.contract import StreamModel
from engines.training.schedule import cosine

SIDE = 16
"""Pixels on a side; the encoder's map then has 2 x 2 cells."""

Weights = dict[str, Tensor]


def taught(digits: Digits, batches: int = 600, seed: int = 0) -> tuple[Weights, nn.Linear]:
    """An encoder's weights after it named shuffled single digits, and the layer that named them."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    encoder = build_encoder(find_encoder("conv"))
    name = nn.Linear(find_encoder("conv").features, 10)
    parameters = [*encoder.parameters(), *name.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.05)
    for batch in range(batches):
        optimizer.param_groups[0]["lr"] = cosine(5e-3, batch, batches)
        chosen = rng.integers(len(digits), size=64)
        frames = torch.from_numpy(shifted(digits.take(chosen).frames(), rng))
        loss = functional.cross_entropy(name(encoder(frames)), torch.from_numpy(digits.names[chosen]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return encoder.state_dict(), name


def shifted(frames: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Each frame moved by up to two pixels either way, dark where nothing comes in."""
    room = np.pad(frames, ((0, 0), (2, 2), (2, 2), (0, 0)))
    height, width = frames.shape[1:3]
    moves = rng.integers(0, 5, (len(frames), 2))
    return np.stack([one[y : y + height, x : x + width] for one, (y, x) in zip(room, moves, strict=True)])


def with_shifted(digits: Digits, copies: int) -> Digits:
    """The digits, followed by so many shifted copies of each."""
    rng = np.random.default_rng(0)
    moved = [shifted(digits.pictures[..., None], rng)[..., 0] for _ in range(copies)]
    return Digits(np.concatenate([digits.pictures, *moved]), np.tile(digits.names, copies + 1))


@torch.inference_mode()
def named(weights: Weights, name: nn.Linear, digits: Digits) -> float:
    """Share of single digits that the encoder names rightly: what a stream's errors of sight are."""
    encoder = build_encoder(find_encoder("conv")).eval()
    encoder.load_state_dict(weights)
    said = name(encoder(torch.from_numpy(digits.frames()))).argmax(1).numpy()
    return float((said == digits.names).mean())


def lend(weights: Weights, model: StreamModel) -> StreamModel:
    """The model with that encoder, which no training changes."""
    model.encoder.load_state_dict(weights)
    return model
