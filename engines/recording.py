"""Record what the trainer's network says, for `vidpipe verify` to hold the exported graphs against."""

from __future__ import annotations

import numpy as np
import torch

from engines.arrivals import accompanied, pictures, wandering
from engines.families.contract import StreamModel
from engines.golden import Golden

_SEED = 20
_PICTURES = 4
_STEPS = 48


def record_golden(model: StreamModel) -> Golden:
    """Features of a few made-up pictures, and the logits, as served, of one whole-sequence pass from zero state."""
    rng = np.random.default_rng(_SEED)
    frames = pictures(rng, _PICTURES, *model.frame_shape)
    dt = rng.choice([0.5, 1.0, 2.0], _STEPS).astype(np.float32) / np.float32(model.fps)
    with torch.inference_mode():
        views: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = model.encoder(torch.from_numpy(frames)).numpy()
        features = accompanied(rng, wandering(rng, views, _STEPS), model.further)
        logits, _ = model(torch.from_numpy(features)[None], torch.from_numpy(dt)[None])
    return Golden(frames, views, features, dt, (logits[0] / model.temperature).numpy())
