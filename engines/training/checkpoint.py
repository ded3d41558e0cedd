"""Checkpoints: where a training stands, written so that a kill at any moment leaves a whole one."""

from __future__ import annotations

import pickle  # noqa: TID251 - only its error is named: torch raises it for what weights_only refuses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engines.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

    from engines.families.contract import StreamModel

FILE = "checkpoint.pt"

STAGES = ("pictures", "memory", "bundle")


@dataclass(frozen=True)
class Checkpoint:
    """`epoch` whole epochs of `stage` are done; `spent_s` is the time that all took.

    `model` may leave out the weights of an encoder that is not trained. `facts` holds what else a training has to know.
    """

    digest: str
    stage: str = STAGES[0]
    epoch: int = 0
    spent_s: float = 0.0
    model: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint in one step."""
    part = folder / f"{FILE}.part"
    torch.save(vars(checkpoint), part)
    part.replace(folder / FILE)


# the unpickler trips over torn bytes in many ways
_DAMAGE = (
    RuntimeError, OSError, EOFError, TypeError, ValueError, LookupError, AttributeError, pickle.UnpicklingError
)  # fmt: skip

ADVICE = "start afresh with --fresh, or choose another folder with --out"


def load_checkpoint(folder: Path, digest: str, advice: str = ADVICE, family: str = "") -> Checkpoint | None:
    """The folder's checkpoint, or None where there is none; `advice` ends the message where it cannot be used.

    Raises:
        TrainingError: the checkpoint is damaged or belongs to another recipe, or to another `family` where it says so.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, weights_only=True))
    except _DAMAGE as error:
        raise TrainingError(f"the checkpoint {path} is damaged: {advice}") from error
    if family and checkpoint.facts.get("family", family) != family:
        raise TrainingError(
            f"the checkpoint {path} holds the family {checkpoint.facts['family']}, and the recipe asks for {family}: "
            f"{advice}"
        )
    if checkpoint.digest != digest:
        raise TrainingError(f"the checkpoint {path} belongs to another recipe or an earlier version of it: {advice}")
    return checkpoint


def restore(model: StreamModel, weights: Mapping[str, Tensor], origin: str) -> None:
    """Put a checkpoint's weights into a network; an encoder that they leave out stays as it is.

    Raises:
        TrainingError: they are another network's; `origin` is what the message calls them.
    """
    try:
        missing, unexpected = model.load_state_dict(dict(weights), strict=False)
    except RuntimeError as error:
        raise TrainingError(f"{origin} holds a network of other sizes than the recipe's: {ADVICE}") from error
    if unexpected or any(not name.startswith("encoder.") for name in missing):
        raise TrainingError(f"{origin} holds another network than the recipe's: {ADVICE}")
