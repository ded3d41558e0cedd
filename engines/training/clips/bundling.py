"""The last step of a training on labelled video: calibrate, choose event rules, and write the bundle with its card."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engines.encoders.provenance import encoder_facts
from engines.evaluation.baselines import BASELINES, Baselines, encode_baselines
from engines.evaluation.resampling import Figure
from engines.export import write_bundle
from engines.families.contract import StreamModel
from engines.manifest import SCHEMA, EventRule, FrameInput, Manifest
from engines.training.clips.card import Training, make_card
from engines.training.clips.judging import Judgement
from engines.training.clips.material import Material
from engines.training.loop import label_counts
from engines.training.recipe import Recipe


@dataclass(frozen=True)
class Result:
    """What a training came to, beside the network itself."""

    judgement: Judgement
    temperature: float
    events: dict[str, EventRule]
    epochs: int
    spent_s: float
    honest: str
    data_sha256: str


def make_bundle(
    folder: Path, model: StreamModel, recipe: Recipe, *, material: Material, baselines: Baselines, result: Result
) -> Manifest:
    """Write the bundle into `folder`; the model's temperature must be set already."""
    about = Manifest(
        schema=SCHEMA,
        name=recipe.name,
        version=recipe.version,
        family=recipe.family,
        labels=material.dataset.labels,
        input=FrameInput(*model.frame_shape, model.fps),
        features=model.features,
        state=(),
        files={},
        clip=recipe.clip,
        events=result.events,
        warm_up_s=recipe.warm_up_s,
        summary=recipe.summary,
        training=_provenance(recipe, material, result),
        metrics=metrics_of(result.judgement),
    )
    training = Training(
        result.epochs, result.spent_s / 60.0, torch.get_num_threads(), result.temperature, result.honest
    )
    card = make_card(about, material, result.judgement, training, recipe.notes)
    return write_bundle(folder, model, about, card, {BASELINES: encode_baselines(baselines)})


def metrics_of(judgement: Judgement) -> dict[str, float]:
    """The figures with their bounds as `accuracy`, `accuracy_low`, `accuracy_high` ...; undefined ones are left out."""
    metrics: dict[str, float] = {}
    for name, figure in judgement.figures.items():
        metrics |= _numbers(name, figure)
    for name, rival in judgement.comparison.against.items():
        metrics |= _numbers(f"best_baseline_{name}", judgement.baselines[rival][name])
    return {**metrics, "clips": float(judgement.clips), "groups": float(judgement.groups)}


def label_shares(material: Material) -> dict[str, float]:
    """The share of each label among the labelled steps that are learnt from."""
    labels = material.dataset.labels
    counts = label_counts(material.plain(material.division.learnt), len(labels))
    return {label: round(float(count / counts.sum()), 6) for label, count in zip(labels, counts, strict=True)}


def _provenance(recipe: Recipe, material: Material, result: Result) -> dict[str, object]:
    facts: dict[str, object] = {
        "state": "trained",
        "recipe_sha256": recipe.digest,
        "recipe": recipe.public,
        "judged_on": result.judgement.where,
        "data_sha256": result.data_sha256,
        "learnt_splits": sorted({video.split for video in material.division.learnt}),
        "priors": label_shares(material),
        "videos": len(material.dataset.videos),
        "groups_given": material.dataset.grouped,
        "skipped": len(material.skipped),
        "epochs": result.epochs,
        "temperature": round(result.temperature, 4),
        "minutes": round(result.spent_s / 60.0, 1),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
    if "encoder" in recipe.options:
        facts["encoder"] = {**encoder_facts(str(recipe.options["encoder"])), "trained": recipe.encoder}
    return facts


def _numbers(name: str, figure: Figure) -> dict[str, float]:
    found: Sequence[tuple[str, float | None]] = (
        (name, figure.value),
        (f"{name}_low", figure.low),
        (f"{name}_high", figure.high),
    )
    return {key: round(value, 4) for key, value in found if value is not None}
