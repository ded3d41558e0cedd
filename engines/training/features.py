"""The encoder over many pictures at once."""

from __future__ import annotations

import numpy as np
import torch

from engines.families.contract import StreamModel

ENCODE_BATCH = 128


def encode(model: StreamModel, frames: np.ndarray) -> np.ndarray:
    """Features float32 `[F, D]` of pictures uint8 `[F, H, W, 3]`; the model must be in evaluation mode."""
    starts = range(0, len(frames), ENCODE_BATCH)
    with torch.inference_mode():
        parts = [model.encoder(torch.from_numpy(frames[at : at + ENCODE_BATCH])).numpy() for at in starts]
    return np.concatenate(parts)
