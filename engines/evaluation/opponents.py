"""Which baselines a model is held against: those of its bundle, or ones fitted on rows that are not judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engines.bundle import Bundle
from engines.datasets.intervals import labels_at
from engines.datasets.labelled import Dataset, LabelledVideo
from engines.evaluation import metrics
from engines.evaluation.baselines import BASELINES, Baselines, decode_baselines, fit_baselines
from engines.evaluation.units import Unit
from engines.evaluation.watching import Watched, Watcher
from engines.training.sequences import FeatureSequence

Progress = Callable[[str], None]


def find_baselines(
    bundle: Bundle, dataset: Dataset, chosen: Sequence[LabelledVideo], watcher: Watcher, progress: Progress
) -> tuple[Baselines | None, str]:
    """Baselines and where they come from; without any, why there are none."""
    if BASELINES in bundle.manifest.files:
        return decode_baselines(bundle.read(BASELINES), f"bundle {bundle.name}: {BASELINES}"), "the bundle"
    judged = {video.path for video in chosen}
    others = [video for video in dataset.videos if video.path not in judged]
    if not others:
        return None, "the bundle carries none, and every row is judged, so nothing is left to fit them on"
    shared = {video.group for video in chosen} & {video.group for video in others}
    if shared:
        return None, f"the bundle carries none, and the other rows share the group {min(shared)} with those judged"
    seen, _ = watcher.features(others, progress)
    labels = bundle.manifest.labels
    sequences = [
        FeatureSequence(str(video.path), video.group, features, times, labels_at(times, video.spans, labels))
        for video, times, features in seen
    ]
    if len({int(label) for each in sequences for label in each.labels if label >= 0}) < 2:
        return None, "the bundle carries none, and the other rows hold fewer than two labels"
    long = any(not span.whole for video in dataset.videos for span in video.spans)
    progress("fitting the baselines")
    fitted = fit_baselines(sequences, labels, clip_s=bundle.manifest.clip.length_s if long else float("inf"))
    splits = ", ".join(sorted({video.split for video in others})) or "none"
    return fitted, f"{len(sequences)} other videos of these data (split: {splits})"


def baselines_judged(
    baselines: Baselines | None, watched: Sequence[Watched], units: Sequence[Unit], model: metrics.Judged
) -> dict[str, metrics.Judged]:
    """What each baseline says of the same units, by its name; none without baselines."""
    if baselines is None:
        return {}
    said = [baselines.predict(watched[unit.video].features[unit.begin : unit.last]) for unit in units]
    return {
        name: metrics.Judged(np.stack([each[name] for each in said]), model.truth, model.group)
        for name in baselines.models
    }
