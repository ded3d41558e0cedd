"""Judging a network on scenes it was never trained on, filmed through H.264, with its state carried all along."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from rich.console import Console

from engines.clips import Clip, ClipClock, Step
from engines.families.cnn_lstm import CnnLstm
from engines.manifest import ClipRule
from engines.scene import LABELS, Scene
from engines.training.features import encode
from engines.training.lanes import Footage
from engines.training.metrics import REMEMBERED_S, Judged
from engines.training.progress import reporter
from engines.training.recipe import Recipe
from engines.training.store import in_order
from engines.training.video import film_h264

VALIDATION_SEEDS, TEST_SEEDS = 30_000_000, 40_000_000
"""Where the seeds of scenes for judging begin; nothing is trained on these."""

STEPS_AT_ONCE = 64


def judge(
    model: CnnLstm, recipe: Recipe, first_seed: int, scenes: int, *, workers: int, console: Console
) -> list[Judged]:
    """Film `scenes` held-out scenes and let the model watch each from its start."""
    how = recipe.evaluation
    make = partial(film_h264, how=how, rate_hz=model.fps, size=model.frame_shape, grid=model.grid)
    seeds = [first_seed + index for index in range(scenes)]
    model.eval()
    judged = []
    with reporter(console, "judging scenes", scenes) as news:
        for seed, footage in zip(seeds, in_order(make, seeds, workers), strict=True):
            judged.append(judge_scene(model, recipe.clip, seed, footage, how.seconds))
            news.advance(1, "")
    return judged


def judge_scene(model: CnnLstm, rule: ClipRule, seed: int, footage: Footage, seconds: float) -> Judged:
    """The model's clips of one scene, and the truth about it."""
    probabilities = answer(model, encode(model, footage.frames), footage.times_s)
    clips = cut(probabilities, footage.times_s, rule, model.fps)
    return Judged(clips, *truth_of(seed, seconds))


def answer(model: CnnLstm, features: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Probabilities float32 `[F, labels]` of one stream from zero state on, features float32 `[F, D]`."""
    dt = np.diff(times_s, prepend=times_s[0] - 1.0 / model.fps).astype(np.float32)
    state, parts = None, []
    with torch.inference_mode():
        for at in range(0, len(features), STEPS_AT_ONCE):
            piece = slice(at, at + STEPS_AT_ONCE)
            logits, state = model(torch.from_numpy(features[piece])[None], torch.from_numpy(dt[piece])[None], state)
            parts.append(torch.softmax(logits[0], 1).numpy())
    return np.concatenate(parts)


def cut(probabilities: np.ndarray, times_s: np.ndarray, rule: ClipRule, rate_hz: float) -> list[Clip]:
    """Clips from the answers of one stream, by the rule that serving uses."""
    clock = ClipClock(rule, rate_hz, float(times_s[0]))
    clips = []
    for time_s, row in zip(times_s, probabilities, strict=True):
        clips += clock.add(Step(float(time_s), row))
    return clips


def truth_of(seed: int, seconds: float) -> tuple[Sequence[tuple[float, float, str]], Sequence[float]]:
    """The runs of labels of a scene, and the moments 60 s after the bringer of something that still stands has gone."""
    scene = Scene(seed, 16, 16)
    runs = scene.intervals(0.0, seconds)
    moments = [item.gone_s + REMEMBERED_S for item in scene.schedule.brought if np.isfinite(item.gone_s)]
    still = [moment for moment in moments if moment < seconds - 1.0 and scene.label(moment) == LABELS[-1]]
    stands = {item.gone_s + REMEMBERED_S: item.take_s for item in scene.schedule.brought}
    return runs, sorted(moment for moment in still if stands[moment] > moment + 1.5)
