"""A whole training: pictures, encoder, features, memory, judgement, bundle; each found again after a restart."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from engines.errors import ConfigError, TrainingError
from engines.families import build_family
from engines.families.cnn_lstm import CnnLstm
from engines.training.checkpoint import FILE, STAGES, Checkpoint, load_checkpoint, save_checkpoint
from engines.training.progress import reporter
from engines.training.scene.bundling import make_bundle
from engines.training.scene.encoder_stage import train_encoder
from engines.training.scene.filming import film_lane, save_encoder
from engines.training.scene.lanes import Lane
from engines.training.scene.memory_stage import memory_parameters, train_memory
from engines.training.scene.pictures import PictureBatch, scene_pictures
from engines.training.scene.recipe import Recipe
from engines.training.store import in_order, load_shard, save_shard

PICTURE_SEEDS, LANE_SEEDS = 10_000_000, 20_000_000
"""Where the seeds of training scenes begin; `engines.training.scene.evaluate` says where those for judging do."""

SEEDS_PER_RUN = 100_000
MEMORY_DECAY = 1e-4


class Training:
    """One training in a folder; `run` does what is left to do and returns the bundle's folder."""

    def __init__(
        self, recipe: Recipe, folder: Path, console: Console, *, fresh: bool = False, threads: int | None = None
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._recipe, self._folder, self._console = recipe, folder, console
        self._prepare(fresh=fresh)
        torch.manual_seed(recipe.seed)
        self._options = {**recipe.options, "labels": len(recipe.labels)}
        model = build_family(recipe.family, self._options)
        if not isinstance(model, CnnLstm):
            raise ConfigError(
                f"recipe {recipe.name}: vidpipe train teaches cnn_lstm with a CNN of its own, which learns the scene: "
                "leave the option encoder out"
            )
        self._model = model
        self._state = load_checkpoint(folder, recipe.digest) or Checkpoint(recipe.digest)
        if self._state.model:
            model.load_state_dict(self._state.model)
            console.print(f"resuming after {self._state.epoch} epochs of stage {self._state.stage}", highlight=False)
        self._since = time.monotonic()
        self._workers = recipe.workers or len(os.sched_getaffinity(0))

    @property
    def bundle(self) -> Path:
        """Where the bundle is written."""
        return self._folder / self._recipe.name

    def run(self) -> Path:
        """Train what is not trained yet, then judge and export."""
        if self._state.stage == "pictures":
            self._learn_pictures()
            self._finish_stage("memory")
        if self._state.stage == "memory":
            self._learn_memory()
            self._finish_stage("bundle")
        spent = self._spent_s()
        make_bundle(self._model, self._recipe, self.bundle, spent_s=spent, workers=self._workers, console=self._console)
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        return self.bundle

    # ---- stages ----------------------------------------------------------------------------------------------------
    def _learn_pictures(self) -> None:
        settings, model = self._recipe.pictures, self._model
        data = self._pictures()
        optimizer = self._optimizer(list(model.encoder.parameters()), settings.learning_rate)
        total = (settings.epochs - self._state.epoch) * (len(data.frames) // settings.batch)
        with reporter(self._console, "1/2 encoder", total) as news:
            train_encoder(
                model, data, settings, self._recipe.seed, optimizer=optimizer, first_epoch=self._state.epoch,
                after_epoch=partial(self._save, optimizer), news=news,
            )  # fmt: skip

    def _learn_memory(self) -> None:
        settings, model = self._recipe.memory, self._model
        scenes = self._lanes()
        optimizer = self._optimizer(memory_parameters(model), settings.learning_rate)
        per_epoch = sum(len(scene.times_s) for scene in scenes) // (settings.lanes * settings.steps)
        with reporter(self._console, "2/2 memory", (settings.epochs - self._state.epoch) * max(1, per_epoch)) as news:
            train_memory(
                model, scenes, settings, self._recipe.seed, optimizer=optimizer, first_epoch=self._state.epoch,
                after_epoch=partial(self._save, optimizer), news=news,
            )  # fmt: skip

    # ---- data ------------------------------------------------------------------------------------------------------
    def _pictures(self) -> PictureBatch:
        settings = self._recipe.pictures
        make = partial(scene_pictures, count=settings.per_scene, size=self._model.frame_shape, grid=self._model.grid)
        seeds = [self._seed(PICTURE_SEEDS, index) for index in range(settings.scenes)]
        with reporter(self._console, "drawing pictures", len(seeds)) as news:
            parts = []
            for part in in_order(make, seeds, self._workers):
                parts.append(part)
                news.advance(1, "")
        return PictureBatch(np.concatenate([p.frames for p in parts]), np.concatenate([p.maps for p in parts]))

    def _lanes(self) -> list[Lane]:
        """Features and facts of all scenes; those already on disk are read, the others are made."""
        wanted = self._recipe.lanes
        lengths = [wanted.long_seconds] * wanted.long_scenes + [wanted.seconds] * wanted.scenes
        paths = [self._folder / "data" / f"lane-{index:05d}.npz" for index in range(len(lengths))]
        found = {index: shard for index, path in enumerate(paths) if (shard := load_shard(path)) is not None}
        missing = [index for index in range(len(lengths)) if index not in found]
        orders = [(self._seed(LANE_SEEDS, index), lengths[index]) for index in missing]
        encoder = self._folder / "data" / "encoder.pt"
        encoder.parent.mkdir(exist_ok=True)
        save_encoder(encoder, self._recipe.family, self._options, self._model)
        make = partial(film_lane, encoder=encoder.resolve())
        with reporter(self._console, "filming scenes", len(missing)) as news:
            for index, lane in zip(missing, in_order(make, orders, self._workers), strict=True):
                found[index] = vars(lane)
                save_shard(paths[index], found[index])
                news.advance(1, "")
        return [Lane(**found[index]) for index in range(len(lengths))]

    def _seed(self, base: int, index: int) -> int:
        return base + (self._recipe.seed % 100) * SEEDS_PER_RUN + index

    # ---- state -----------------------------------------------------------------------------------------------------
    def _prepare(self, *, fresh: bool) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if fresh:
                (self._folder / FILE).unlink(missing_ok=True)
                shutil.rmtree(self._folder / "data", ignore_errors=True)
        except OSError as error:
            raise TrainingError(
                f"the folder {self._folder} cannot be used: {error.strerror}: choose another with --out"
            ) from error

    def _optimizer(self, parameters: list[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=MEMORY_DECAY)
        if self._state.optimizer:
            optimizer.load_state_dict(self._state.optimizer)
        return optimizer

    def _save(self, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        model, state = self._model.state_dict(), optimizer.state_dict()
        self._state = replace(self._state, epoch=epoch, spent_s=self._spent_s(), model=model, optimizer=state)
        self._since = time.monotonic()
        save_checkpoint(self._folder, self._state)

    def _finish_stage(self, following: str) -> None:
        assert following in STAGES
        self._state = replace(self._state, stage=following, epoch=0, spent_s=self._spent_s(), optimizer={})
        self._since = time.monotonic()
        save_checkpoint(self._folder, self._state)

    def _spent_s(self) -> float:
        return self._state.spent_s + time.monotonic() - self._since
