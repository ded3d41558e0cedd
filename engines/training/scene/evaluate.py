"""Judging a network on scenes it was never trained on, filmed through H.264, with its state carried all along."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from rich.console import Console

from engines.families.contract import StreamModel
from engines.training.features import encode
from engines.training.progress import reporter
from engines.training.scene.judging import cut, judged
from engines.training.scene.metrics import Judged
from engines.training.scene.recipe import Recipe
from engines.training.scene.video import film_h264
from engines.training.store import in_order

VALIDATION_SEEDS, TEST_SEEDS = 30_000_000, 40_000_000
"""Where the seeds of scenes for judging begin; nothing is trained on these."""

STEPS_AT_ONCE = 64


def judge(
    model: StreamModel, recipe: Recipe, first_seed: int, scenes: int, *, workers: int, console: Console
) -> list[Judged]:
    """Film `scenes` held-out scenes and let the model watch each from its start."""
    how = recipe.evaluation
    make = partial(film_h264, how=how, rate_hz=model.fps, size=model.frame_shape)
    seeds = [first_seed + index for index in range(scenes)]
    model.eval()
    scored = []
    with reporter(console, "judging scenes", scenes) as news:
        for seed, film in zip(seeds, in_order(make, seeds, workers), strict=True):
            probabilities = answer(model, encode(model, film.frames), film.times_s)
            scored.append(judged(seed, how.seconds, cut(probabilities, film.times_s, recipe.clip, model.fps)))
            news.advance(1, "")
    return scored


def answer(model: StreamModel, features: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Probabilities float32 `[F, labels]` of one stream from zero state on, features float32 `[F, D]`."""
    dt = np.diff(times_s, prepend=times_s[0] - 1.0 / model.fps).astype(np.float32)
    state, parts = None, []
    with torch.inference_mode():
        for at in range(0, len(features), STEPS_AT_ONCE):
            piece = slice(at, at + STEPS_AT_ONCE)
            logits, state = model(torch.from_numpy(features[piece])[None], torch.from_numpy(dt[piece])[None], state)
            parts.append(torch.softmax(logits[0], 1).numpy())
    return np.concatenate(parts)
