"""The last step of a training: judge the network on held-out scenes and write its bundle."""

from __future__ import annotations

import platform
from pathlib import Path

import msgspec
import torch
from rich.console import Console

from engines.export import write_bundle
from engines.families.cnn_lstm import CnnLstm
from engines.manifest import SCHEMA, EventRule, FrameInput, Manifest
from engines.training.scene.card import card
from engines.training.scene.evaluate import TEST_SEEDS, VALIDATION_SEEDS, judge
from engines.training.scene.metrics import Judged, choose_rules, clip_tallies, event_f1, memory_tally
from engines.training.scene.recipe import Recipe


def make_bundle(
    model: CnnLstm, recipe: Recipe, folder: Path, *, spent_s: float, workers: int, console: Console
) -> Manifest:
    """Choose the event rules on validation scenes, measure on test scenes, and write the bundle into `folder`."""
    how, events = recipe.evaluation, recipe.labels[1:]
    validation = judge(model, recipe, VALIDATION_SEEDS, how.validation_scenes, workers=workers, console=console)
    rules = choose_rules(validation, recipe.labels, events)
    test = judge(model, recipe, TEST_SEEDS, how.test_scenes, workers=workers, console=console)
    figures = measure(test, rules, recipe.labels)
    about = Manifest(
        schema=SCHEMA,
        name=recipe.name,
        version=recipe.version,
        family=recipe.family,
        labels=recipe.labels,
        input=FrameInput(*model.frame_shape, model.fps),
        features=model.features,
        state=(),
        files={},
        clip=recipe.clip,
        events=rules,
        warm_up_s=recipe.warm_up_s,
        summary=recipe.summary,
        training=_provenance(recipe, spent_s),
        metrics=figures,
    )
    manifest = write_bundle(folder, model, about, card(about, recipe))
    console.print(
        f"wrote {folder}: " + ", ".join(f"{name} {value:g}" for name, value in figures.items()), highlight=False
    )
    return manifest


def measure(judged: list[Judged], rules: dict[str, EventRule], labels: tuple[str, ...]) -> dict[str, float]:
    """All figures of a bundle, each between 0 and 1 but for the counts."""
    far, near = clip_tallies(judged, labels)
    remembered = memory_tally(judged, labels, labels[-1])
    figures = {
        "clip_accuracy": far.share,
        "clip_accuracy_near_change": near.share,
        "event_f1": event_f1(judged, rules, labels),
        **{f"event_f1_{label}": event_f1(judged, {label: rule}, labels) for label, rule in rules.items()},
    }
    if remembered.total:
        figures["left_behind_after_60s"] = remembered.share
    counts = {"scenes": len(judged), "clips": far.total + near.total, "left_behind_after_60s_cases": remembered.total}
    return {name: round(value, 4) for name, value in {**figures, **counts}.items()}


def _provenance(recipe: Recipe, spent_s: float) -> dict[str, object]:
    return {
        "recipe_sha256": recipe.digest,
        "recipe": msgspec.to_builtins(recipe),
        "minutes": round(spent_s / 60.0, 1),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
