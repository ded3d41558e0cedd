"""Checkpoints: where a training stands, written so that a kill at any moment leaves a whole one."""

from __future__ import annotations

import pickle  # noqa: TID251 - only its error is named: torch raises it for what weights_only refuses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engines.errors import TrainingError

FILE = "checkpoint.pt"

STAGES = ("pictures", "memory", "bundle")


@dataclass(frozen=True)
class Checkpoint:
    """`epoch` whole epochs of `stage` are done; `spent_s` is the time that all took."""

    digest: str
    stage: str = STAGES[0]
    epoch: int = 0
    spent_s: float = 0.0
    model: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint in one step."""
    part = folder / f"{FILE}.part"
    torch.save(vars(checkpoint), part)
    part.replace(folder / FILE)


ADVICE = "start afresh with --fresh, or choose another folder with --out"


def load_checkpoint(folder: Path, digest: str, advice: str = ADVICE) -> Checkpoint | None:
    """The folder's checkpoint, or None where there is none; `advice` ends the message where it cannot be used.

    Raises:
        TrainingError: the checkpoint is damaged or belongs to another recipe.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, weights_only=True))
    except (RuntimeError, OSError, EOFError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingError(f"the checkpoint {path} is damaged: {advice}") from error
    if checkpoint.digest != digest:
        raise TrainingError(f"the checkpoint {path} belongs to another recipe or an earlier version of it: {advice}")
    return checkpoint
