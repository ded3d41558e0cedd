"""The whole-sequence mode: a bundle's network rebuilt as it was trained, one pass over all frames of a video."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.errors import ConfigError, MissingExtraError, ModelError
from engines.export import WEIGHTS
from engines.families import build_family

if TYPE_CHECKING:
    from engines.families.contract import StreamModel

STEPS_AT_ONCE = 1024
"""Longer videos go in parts with the state carried over: attention over all pairs of steps grows with the square."""


class NotComparableError(Exception):
    """The whole-sequence pass cannot be had of this bundle here; the text is the reason, in one clause."""


class WholeSequence:
    """A bundle's recurrent part in torch, from `weights.npz` and the options of its recipe."""

    def __init__(self, model: StreamModel) -> None:
        self.model = model.eval()

    @classmethod
    def load(cls, bundle: Bundle) -> WholeSequence:
        """Rebuild the network.

        Raises:
            NotComparableError: the bundle has no weights or no recipe, they do not fit, or torch is missing.
        """
        if WEIGHTS not in bundle.manifest.files:
            raise NotComparableError(f"the bundle carries no {WEIGHTS}")
        recipe = bundle.manifest.training.get("recipe")
        options = recipe.get("options") if isinstance(recipe, Mapping) else None
        if not isinstance(options, Mapping):
            raise NotComparableError("the manifest has no training.recipe.options to rebuild the network from")
        wanted: dict[str, object] = {**options, "labels": len(bundle.manifest.labels)}
        if "encoder" in wanted:
            wanted["pretrained"] = False  # the encoder is the bundle's own graph
        try:
            model = build_family(bundle.manifest.family, wanted)
        except (ConfigError, MissingExtraError, ModelError) as error:
            raise NotComparableError(str(error)) from error
        _fill(model, _weights(bundle))
        return cls(model)

    def answer(self, features: NDArray[np.float32], dt: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities `[F, labels]` of one video from a fresh state; features `[F, *features]`, dt `[F]` seconds."""
        import torch  # noqa: PLC0415 - optional

        temperature = getattr(self.model, "temperature", torch.ones(1))
        state, parts = None, []
        with torch.inference_mode():
            for first in range(0, len(dt), STEPS_AT_ONCE):
                part = slice(first, first + STEPS_AT_ONCE)
                seen, paces = (torch.from_numpy(np.ascontiguousarray(each[part]))[None] for each in (features, dt))
                logits, state = self.model(seen, paces, state)
                parts.append(torch.softmax(logits[0] / temperature, 1).numpy())
        return np.concatenate(parts)


def _weights(bundle: Bundle) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(io.BytesIO(bundle.read(WEIGHTS)), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise NotComparableError(f"{WEIGHTS} cannot be read") from error


def _fill(model: StreamModel, weights: Mapping[str, NDArray[np.generic]]) -> None:
    import torch  # noqa: PLC0415 - optional

    try:
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except (RuntimeError, TypeError) as error:
        raise NotComparableError(f"{WEIGHTS} do not fit the recipe: {' '.join(str(error).split())}") from error
    wrong = [*unexpected, *(name for name in missing if not name.startswith("encoder."))]
    if wrong:
        raise NotComparableError(f"{WEIGHTS} and the recipe differ in {wrong[0]}")
