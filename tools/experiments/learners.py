"""The families at the size of toy tasks, on an encoder that passes the pixels through, and how they learn."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from digits import Digits

from engines.errors import ConfigError
from engines.families import FAMILIES, build_family
from engines.families.contract import StreamModel
from engines.training.features import encode
from engines.training.learning import Learning
from engines.training.loop import train_temporal
from engines.training.sequences import FeatureSequence

SIZES: dict[str, dict[str, object]] = {
    "cnn_lstm": {"reduced": 64, "hidden": 128},
    "gru": {"reduced": 64, "hidden": 128},
    "two_stream": {"hidden": 96, "projected": 64},
    "convlstm": {"channels": 32},
    "attention_lstm": {"reduced": 64, "hidden": 96, "attention": 32, "memory": 16},
    "tcn": {"channels": 48, "levels": 5},
    "transformer": {"hidden": 64, "layers": 2, "window": 64},
    "graph": {"grid": 0, "hidden": 64},
    "multimodal": {"reduced": 64, "hidden": 96, "further": [{"name": "none", "size": 1}]},
}
"""Options of each family, small enough for one core; `multimodal` gets a further input that never comes."""


def families_of(names: str, quick: Sequence[str] | None = None) -> list[str]:
    """The families that `names`, with commas, asks for; by default `quick` or else all that there are.

    Raises:
        ConfigError: there is no such family.
    """
    if not names:
        return list(quick) if quick is not None else [name for name in SIZES if name in FAMILIES]
    asked = names.split(",")
    for name in asked:
        if name not in SIZES:
            raise ConfigError(f"there is no family {name!r} in the experiments, known are {', '.join(SIZES)}")
    return asked


def toy_model(family: str, encoder: str, frame: tuple[int, int], **options: object) -> StreamModel:
    """A network of the family on frames of (height, width); `options` go before those of `SIZES`."""
    torch.manual_seed(0)
    return build_family(family, {"encoder": encoder, "height": frame[0], "width": frame[1], **SIZES[family], **options})


def bank_of(model: StreamModel, digits: Digits) -> npt.NDArray[np.float32]:
    """What a step reads of every picture, `[N, *step_features]`; further inputs are missing."""
    features = encode(model.eval(), digits.frames())
    missing = np.zeros((len(features), sum(model.step_features) - sum(model.features)), np.float32)
    return np.concatenate([features, missing], 1) if missing.size else features


def learn(
    model: StreamModel, sequences: Sequence[FeatureSequence], learning: Learning, labels: int, seed: int = 0
) -> float:
    """Train with the product's own loop; seconds that it took."""
    since = time.monotonic()
    names = [str(label) for label in range(labels)]
    train_temporal(model, [sequences], [], learning, seed, labels=names, news=Quiet())
    return time.monotonic() - since


def parameters(model: StreamModel) -> int:
    """Numbers that are learnt."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


class Quiet:
    """Takes the news of a training and keeps them to itself."""

    def advance(self, steps: int, note: str) -> None:
        """See `engines.training.progress.Reporter`."""
