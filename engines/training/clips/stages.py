"""The stages of a training and its checkpoint: what was learnt is kept after every epoch and taken up again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from engines.datasets.labelled import Dataset
from engines.errors import TrainingError
from engines.families.contract import StreamModel
from engines.training.checkpoint import FILE, Checkpoint, load_checkpoint, restore, save_checkpoint
from engines.training.clips.board import board
from engines.training.clips.division import data_digest
from engines.training.lanes import Views, chunks_of
from engines.training.loop import Standing, portable, train_temporal
from engines.training.progress import reporter
from engines.training.recipe import Recipe
from engines.training.sequences import FeatureSequence

FIT, BUNDLE = "fit", "bundle"


class Stages:
    """Where one training in one folder stands.

    Raises:
        TrainingError: the folder cannot be used, or its checkpoint is damaged or of another recipe, family or data.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, folder: Path, console: Console, *, fresh: bool) -> None:
        self._recipe, self._folder, self._console, self._labels = recipe, folder, console, dataset.labels
        self._prepare(fresh=fresh)
        self._facts: dict[str, Any] = {
            "family": recipe.family, "labels": list(dataset.labels), "data": data_digest(dataset)
        }  # fmt: skip
        found = load_checkpoint(folder, recipe.digest, family=recipe.family)
        if found is not None and found.facts.get("data") != self._facts["data"]:
            raise TrainingError(
                f"the data at {dataset.origin} are not those that the training in {folder} began with: start afresh "
                "with --fresh, or choose another folder with --out"
            )
        self._state = found or Checkpoint(recipe.digest, stage="")
        if found is not None:
            epochs = f"after {found.epoch} epochs of " if found.stage != BUNDLE else "at "
            console.print(f"resuming {epochs}stage {found.stage}", highlight=False)
        self._since = time.monotonic()

    @property
    def digest(self) -> str:
        """What names recipe and data together."""
        return f"{self._recipe.digest} {self._facts['data']}"

    @property
    def data_sha256(self) -> str:
        """What names the data; see `data_digest`."""
        return str(self._facts["data"])

    @property
    def fitted(self) -> bool:
        """Whether the network has learnt all that it will."""
        return self._state.stage == BUNDLE

    @property
    def epochs(self) -> int:
        """How many epochs the fitted network has learnt."""
        return self._state.epoch

    @property
    def spent_s(self) -> float:
        """Wall time of this training so far, in seconds, over all its runs."""
        return self._state.spent_s + time.monotonic() - self._since

    def learn(
        self,
        model: StreamModel,
        views: Views,
        validation: Sequence[FeatureSequence],
        *,
        stage: str,
        title: str,
        until: int | None = None,
    ) -> Standing:
        """One stage, taken up again where an earlier run left it; `model` ends with its best weights."""
        settings = self._recipe.learning
        start = Standing(**self._state.facts["standing"]) if self._state.stage == stage else Standing()
        chunks = chunks_of(views, settings)
        total = (min(settings.epochs, until or settings.epochs) - start.epoch) * chunks
        with (
            reporter(self._console, title, total) as news,
            board(self._folder / "tensorboard", stage, start.epoch * chunks) as log,
        ):
            return train_temporal(
                model, views, validation, settings, self._recipe.seed, labels=self._labels, news=news,
                after_epoch=lambda standing: self._keep(stage, standing), start=start, until=until, log=log,
                fine_tuned=self._recipe.fine_tuned, keep_answers=stage != FIT, aggregate=self._recipe.clip.aggregate,
            )  # fmt: skip

    def finish(self, model: StreamModel, epochs: int) -> None:
        """The network is what the bundle will hold."""
        weights = portable(model, encoder=self._recipe.fine_tuned)
        self._save(Checkpoint(self._recipe.digest, BUNDLE, epochs, self.spent_s, weights, facts=self._facts))

    def recall(self, model: StreamModel) -> None:
        """Put the fitted weights into the network."""
        restore(model, self._state.model, str(self._folder / FILE))

    def _keep(self, stage: str, standing: Standing) -> None:
        weights = standing.best_weights or standing.weights
        facts = {**self._facts, "standing": dict(vars(standing))}
        self._save(Checkpoint(self._recipe.digest, stage, standing.epoch, self.spent_s, weights, facts=facts))

    def _save(self, state: Checkpoint) -> None:
        self._state, self._since = replace(state, spent_s=self.spent_s), time.monotonic()
        save_checkpoint(self._folder, self._state)

    def _prepare(self, *, fresh: bool) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if fresh:
                (self._folder / FILE).unlink(missing_ok=True)
                for name in ("folds", "tensorboard"):
                    shutil.rmtree(self._folder / name, ignore_errors=True)
        except OSError as error:
            raise TrainingError(
                f"the folder {self._folder} cannot be used: {error.strerror}: choose another with --out"
            ) from error
