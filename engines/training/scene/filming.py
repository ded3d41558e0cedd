"""Making lanes: each scene is filmed and encoded in one worker process, so that only features travel."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from engines.families import build_family
from engines.families.cnn_lstm import CnnLstm
from engines.training.features import encode
from engines.training.scene.lanes import Lane, film


def save_encoder(path: Path, family: str, options: Mapping[str, object], model: CnnLstm) -> None:
    """Write down all that a worker needs to encode; what was there before is forgotten."""
    _load_encoder.cache_clear()
    torch.save({"family": family, "options": dict(options), "model": model.state_dict()}, path)


def film_lane(order: tuple[int, float], encoder: Path) -> Lane:
    """The lane of a scene's seed and length in seconds, seen through the encoder that `save_encoder` wrote."""
    model = _load_encoder(str(encoder))
    seed, seconds = order
    seen = film(seed, seconds, model.fps, model.frame_shape, model.grid)
    features = encode(model, seen.frames).astype(np.float16)
    return Lane(features, seen.times_s, seen.since_s, seen.left_s, seen.evidence)


@lru_cache(maxsize=1)
def _load_encoder(path: str) -> CnnLstm:
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # the workers share the cores among themselves
    saved = torch.load(path, weights_only=True)
    model = build_family(saved["family"], saved["options"])
    assert isinstance(model, CnnLstm)
    model.load_state_dict(saved["model"])
    return model.eval()
