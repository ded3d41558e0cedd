"""What an evaluation was made with: the model, its training, and versions."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata

from engines.bundle import Bundle
from engines.datasets.labelled import Dataset
from engines.evaluation.record import ModelFacts
from engines.manifest import Manifest
from engines.training.clips.division import data_digest


def model_facts(bundle: Bundle, backend: str) -> ModelFacts:
    """The manifest in short; `backend` is where it ran."""
    about = bundle.manifest
    return ModelFacts(
        name=about.name,
        version=about.version,
        sha256=bundle.sha,
        family=about.family,
        labels=about.labels,
        fps=about.input.fps,
        width=about.input.width,
        height=about.input.height,
        clip_length_s=about.clip.length_s,
        clip_stride_s=about.clip.stride_s,
        aggregate=about.clip.aggregate,
        warm_up_s=about.warm_up_s,
        events=tuple(about.events),
        backend=backend,
    )


def training_shares(manifest: Manifest) -> list[float]:
    """How frequent each label was in training, from the manifest's `training.priors`; empty where it does not say."""
    priors = manifest.training.get("priors")
    if not isinstance(priors, Mapping):
        return []
    values = [priors.get(label) for label in manifest.labels]
    return [float(value) for value in values if isinstance(value, int | float)] if None not in values else []


def learnt_from(manifest: Manifest, dataset: Dataset, split: str) -> bool:
    """Whether these are the data of the model's training, and the split (empty: everything) is one that it learnt from.

    Parts of those data under another manifest are not recognised.
    """
    facts = manifest.training
    splits = facts.get("learnt_splits")
    same = facts.get("data_sha256") == data_digest(dataset)
    return same and isinstance(splits, Sequence) and (not split or split in splits)


def versions() -> dict[str, str]:
    """Of Python and of what computes the figures, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in ("vidpipe", "numpy", "opencv-python-headless", "openvino", "onnxruntime", "torch", "scikit-learn"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
