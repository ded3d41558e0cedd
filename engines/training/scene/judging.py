"""From the answers of one stream to something that can be judged: clips by the rule of serving, and the truth."""

from __future__ import annotations

import numpy as np

from engines.clips import Clip, ClipClock, Step
from engines.evaluation.occurrences import Run
from engines.manifest import ClipRule
from engines.scene import LABELS, Scene
from engines.training.scene.metrics import REMEMBERED_S, Judged


def judged(seed: int, seconds: float, clips: list[Clip], left_s: tuple[float, float] | None = None) -> Judged:
    """Clips of the scene of a seed, beside what was true there; `left_s` as in `engines.scene.Scene`."""
    return Judged(clips, *truth_of(seed, seconds, left_s))


def cut(probabilities: np.ndarray, times_s: np.ndarray, rule: ClipRule, rate_hz: float) -> list[Clip]:
    """Clips from the answers float32 `[F, labels]` of one stream."""
    clock = ClipClock(rule, rate_hz, float(times_s[0]))
    clips = []
    for time_s, row in zip(times_s, probabilities, strict=True):
        clips += clock.add(Step(float(time_s), row))
    return clips


def truth_of(seed: int, seconds: float, left_s: tuple[float, float] | None = None) -> tuple[list[Run], list[float]]:
    """The runs of labels, and the moments 60 s after the bringer of something that still stands has gone."""
    scene = Scene(seed, 16, 16, left_s=left_s)
    runs = scene.intervals(0.0, seconds)
    gone = [(item.gone_s + REMEMBERED_S, item.take_s) for item in scene.schedule.brought if np.isfinite(item.gone_s)]
    # a clip ends within a second of the moment: the thing must stand until then
    moments = [moment for moment, take_s in gone if moment + 1.5 < min(take_s, seconds)]
    assert all(scene.label(moment) == LABELS[-1] for moment in moments)
    return runs, sorted(moments)
