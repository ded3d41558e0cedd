"""A sweep in a folder: each combination trained and judged once, kept, and found again after a stop."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from rich.console import Console

from engines.bundle import load_bundle
from engines.datasets.labelled import Dataset
from engines.errors import ConfigError
from engines.evaluation.resampling import Figure
from engines.evaluation.sweep.grid import Choice, dropped_options, rate_of, recipe_for, shortened
from engines.evaluation.sweep.record import Sweep, Trained
from engines.evaluation.sweep.timing import time_bundles
from engines.export import write_bundle
from engines.families import build_family
from engines.manifest import SCHEMA, FrameInput, Manifest
from engines.training.clips.division import data_digest
from engines.training.clips.run import ClipTraining
from engines.training.recipe import Recipe

RESULT = "result.json"


class SweepRun:
    """One sweep; `run` trains what is not trained yet and times everything anew."""

    def __init__(
        self, recipe: Recipe, dataset: Dataset, folder: Path, console: Console, *, threads: int | None = None
    ) -> None:
        self._recipe, self._dataset, self._folder, self._console = recipe, dataset, folder, console
        self._threads = threads
        self._ranked = "auc" if len(dataset.labels) == 2 else "map"

    def run(self, wanted: Sequence[Choice], backend: str = "auto") -> Sweep:
        """Train, judge and time every combination.

        Raises:
            ConfigError: a family cannot be built at a size, or its recipe is wrong.
            DataError, TrainingError: see `ClipTraining`.
            BackendError: the back end cannot run a model.
        """
        rows = []
        for number, choice in enumerate(wanted, 1):
            self._say(f"{number}/{len(wanted)} {choice}")
            rows.append(self._row(choice))
        self._say("timing all of them in turns")
        pairs = list(dict.fromkeys((choice.family, choice.size) for choice in wanted))
        bundles = [(family, size, load_bundle(self._bundle(family, size))) for family, size in pairs]
        timings, name = time_bundles(bundles, backend, threads=self._threads)
        how = self._recipe.data.validation
        judged = f"{how.folds}-fold cross-validation by group" if how.folds else "held-out groups"
        return Sweep(
            self._recipe.name, self._dataset.origin, judged, rate_of(self._recipe), self._dataset.labels, name,
            tuple(rows), tuple(timings),
        )  # fmt: skip

    def _row(self, choice: Choice) -> Trained:
        recipe = recipe_for(self._recipe, choice)
        dataset = shortened(self._dataset, choice.frames / rate_of(recipe))
        digest = hashlib.sha256(f"{recipe.digest} {data_digest(dataset)}".encode()).hexdigest()[:10]
        folder = self._folder / f"{recipe.name}-{digest}"
        found = _kept(folder / RESULT)
        if found is not None:
            self._say("  kept from an earlier run")
            return found
        training = ClipTraining(
            recipe, dataset, folder, self._console, threads=self._threads, cache=self._folder / "cache"
        )
        row = self._folds(training, choice) if recipe.data.validation.folds else self._held_out(training, choice)
        part = folder / f"{RESULT}.part"
        part.write_bytes(msgspec.json.encode(row))
        part.replace(folder / RESULT)
        return row

    def _folds(self, training: ClipTraining, choice: Choice) -> Trained:
        found = training.cross_validate()
        rival = found.comparison.against.get("accuracy")
        baseline = found.baselines[rival]["accuracy"] if rival else Figure(None, why="no baseline")
        return self._trained(
            choice, (found.figures["accuracy"], found.figures[self._ranked], baseline), found.clips, found.groups
        )

    def _held_out(self, training: ClipTraining, choice: Choice) -> Trained:
        metrics = load_bundle(training.run()).manifest.metrics
        names = ("accuracy", self._ranked, "best_baseline_accuracy")
        accuracy, ranked, baseline = (
            Figure(metrics.get(name), metrics.get(f"{name}_low"), metrics.get(f"{name}_high")) for name in names
        )
        return self._trained(choice, (accuracy, ranked, baseline), int(metrics["clips"]), int(metrics["groups"]))

    def _trained(self, choice: Choice, figures: tuple[Figure, Figure, Figure], clips: int, groups: int) -> Trained:
        left_out = dropped_options(self._recipe, choice)
        return Trained(choice.family, choice.size, choice.frames, *figures, clips, groups, left_out)

    def _bundle(self, family: str, size: int) -> Path:
        """Graphs to time, with random weights after the encoder: what they compute costs the same."""
        recipe = recipe_for(self._recipe, Choice(family, size, 2))
        folder = self._folder / "timed" / f"{family}-{size}-{recipe.digest[:10]}"
        if (folder / "manifest.yaml").is_file():
            return folder
        torch.manual_seed(0)
        labels = self._dataset.labels
        model = build_family(family, {**recipe.options, "labels": len(labels)})
        frame = FrameInput(*model.frame_shape, model.fps)
        about = Manifest(SCHEMA, recipe.name, "0.0.0+untrained", family, labels, frame, model.features, (), {})
        write_bundle(folder, model, about, f"# {recipe.name}\n\nUntrained, for timing only.\n")
        return folder

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def prepare_folder(folder: Path) -> None:
    """Make the folder of a sweep.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be used: {error.strerror}: choose another with --out") from error


def _kept(path: Path) -> Trained | None:
    """A finished combination's result; None where there is none, or a damaged one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Trained)
    except (OSError, msgspec.MsgspecError):
        return None
