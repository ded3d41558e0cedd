"""A whole training on labelled video: encode, cross-validate or hold out, fit, judge, and write the bundle."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from engines.datasets.labelled import Dataset
from engines.datasets.splits import Fold, Videos
from engines.errors import ConfigError, TrainingError
from engines.evaluation.baselines import Baselines, fit_baselines
from engines.families import build_family
from engines.families.contract import StreamModel
from engines.training.answers import Answers, answer
from engines.training.checkpoint import FILE, Checkpoint, load_checkpoint, restore, save_checkpoint
from engines.training.clips.board import board
from engines.training.clips.bundling import Result, make_bundle
from engines.training.clips.calibration import fit_temperature
from engines.training.clips.division import data_digest
from engines.training.clips.folds import FoldResult, final_epochs, judging_epochs, load_fold, pieces, save_fold
from engines.training.clips.judging import Judgement, Simple, judge, shown, simple_scores
from engines.training.clips.material import Material, prepare, with_features
from engines.training.clips.rules import Stream, choose_rules, make_stream
from engines.training.lanes import Views, chunks_of
from engines.training.loop import Standing, portable, train_temporal
from engines.training.progress import reporter
from engines.training.recipe import Recipe
from engines.training.sequences import FeatureSequence

FIT, BUNDLE = "fit", "bundle"

HONEST_FOLDS = (
    "Every clip was judged by a network that saw nothing of its group. How many epochs that network learnt was chosen "
    "on the other folds. The temperature was chosen on these same clips, which flatters the calibration error and the "
    "Brier score a little. The network in this bundle learnt from all of these videos and was itself not judged."
)
HONEST_HELD_OUT = (
    "The network learnt from no clip of these groups, but its number of epochs and its temperature were chosen on "
    "them, which flatters the figures a little: measure it on clips that nothing was chosen on."
)


class ClipTraining:
    """One training in a folder; `run` does what is left to do and returns the bundle's folder."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        folder: Path,
        console: Console,
        *,
        fresh: bool = False,
        threads: int | None = None,
    ) -> None:
        if threads or recipe.threads:
            torch.set_num_threads(threads or recipe.threads)
        self._recipe, self._dataset, self._folder, self._console = recipe, dataset, folder, console
        self._prepare(fresh=fresh)
        self._facts = {"family": recipe.family, "labels": list(dataset.labels), "data": data_digest(dataset)}
        self._check_encoder(self._new_model(0))
        found = load_checkpoint(folder, recipe.digest, family=recipe.family)
        if found is not None and found.facts["data"] != self._facts["data"]:
            raise TrainingError(
                f"the data at {dataset.origin} are not those that the training in {folder} began with: start afresh "
                "with --fresh, or choose another folder with --out"
            )
        self._state = found or Checkpoint(recipe.digest, stage="")
        if self._state.stage:
            self._say(f"resuming after {self._state.epoch} epochs of stage {self._state.stage}")
        self._since = time.monotonic()

    @property
    def bundle(self) -> Path:
        """Where the bundle is written."""
        return self._folder / self._recipe.name

    def cross_validate(self) -> Judgement:
        """Train and judge all folds, and nothing else.

        Raises:
            ConfigError: the recipe asks for no folds.
        """
        if not self._material.division.folds:
            raise ConfigError(
                f"the recipe {self._recipe.name} has no folds to cross-validate: add data.validation: {{folds: 5}}"
            )
        return self._judge_folds(self._fold_results)[0]

    def run(self) -> Path:
        """Train what is not trained yet, then judge and write the bundle."""
        folds = self._fold_results if self._material.division.folds else []
        model = self._fitted(final_epochs([fold.best_epoch for fold in folds]) if folds else None)
        if folds:
            judgement, temperature, streams = self._judge_folds(folds)
        else:
            judgement, temperature, streams = self._judge_held_out(model)
        model.temperature.fill_(temperature)
        weights = portable(model, encoder=self._fine_tuned)
        self._save(replace(self._state, model=weights))
        events = choose_rules(streams, self._dataset.labels, self._event_labels(), self._recipe.clip)
        baselines = self._baselines(self._material.division.learnt, model)
        honest = HONEST_FOLDS if folds else HONEST_HELD_OUT
        result = Result(judgement, temperature, events, self._state.epoch, self._spent_s(), honest)
        make_bundle(self.bundle, model, self._recipe, material=self._material, baselines=baselines, result=result)
        self._tell(judgement)
        self._say(f"wrote {self.bundle}")
        return self.bundle

    # ---- data ------------------------------------------------------------------------------------------------------
    @cached_property
    def _material(self) -> Material:
        material = prepare(
            self._dataset, self._recipe, self._new_model(0), self._folder / "cache", console=self._console
        )
        for skipped in material.skipped:
            self._say(f"skipped {skipped.reason}")
        videos, groups = material.dataset.videos, {video.group for video in material.dataset.videos}
        self._say(f"{len(videos)} videos of {len(groups)} groups, {len(material.skipped)} skipped; judged on "
                  f"{material.division.how}")  # fmt: skip
        if not material.dataset.grouped:
            self._say(
                "no groups were given: every file counts as a source of its own, and figures flatter if several files "
                "come from one source (name groups in a CSV manifest)"
            )
        return material

    def _event_labels(self) -> list[str]:
        return [label for label in self._dataset.labels if label != self._recipe.data.background]

    def _baselines(self, videos: Videos, model: StreamModel) -> Baselines:
        """Baselines of videos as the model's encoder sees them; clips as long as those that will be judged."""
        whole = all(span.whole for video in videos for span in video.spans)
        sequences = with_features(self._material.plain(videos), model)
        clip_s = math.inf if whole else self._recipe.clip.length_s
        return fit_baselines(sequences, self._dataset.labels, clip_s=clip_s, seed=self._recipe.seed)

    # ---- folds -----------------------------------------------------------------------------------------------------
    @cached_property
    def _fold_results(self) -> list[FoldResult]:
        return [self._fold(number, fold) for number, fold in enumerate(self._material.division.folds, 1)]

    def _fold(self, number: int, fold: Fold) -> FoldResult:
        path = self._folder / "folds" / f"fold-{number}.npz"
        digest = f"{self._recipe.digest} {self._facts['data']}"
        found = load_fold(path, digest)
        if found is not None:
            return found
        model, held = self._new_model(number), self._material.plain(fold.validation)
        count = len(self._material.division.folds)
        standing = self._learn(
            model, self._material.train_views(fold.train), held, f"fold-{number}", f"fold {number}/{count}"
        )
        held = with_features(held, model)
        order = np.random.default_rng([self._recipe.seed, 41]).permutation(len(held))
        carried = np.concatenate(answer(model, [held[index] for index in order], carry=True))
        simple = simple_scores(self._baselines(fold.train, model), held)
        answers = np.stack([epoch.numpy() for epoch in standing.answers])
        result = FoldResult(max(1, standing.best_epoch), answers, carried, order, simple)
        save_fold(path, result, digest)
        return result

    def _judge_folds(self, results: Sequence[FoldResult]) -> tuple[Judgement, float, list[Stream]]:
        epochs = judging_epochs([each.best_epoch for each in results], [len(each.answers) for each in results])
        sequences: list[FeatureSequence] = []
        answers: Answers = []
        carried: list[tuple[Answers, list[FeatureSequence]]] = []
        for fold, result, epoch in zip(self._material.division.folds, results, epochs, strict=True):
            held = self._material.plain(fold.validation)
            sequences += held
            answers += pieces(result.answers[epoch - 1], [len(each) for each in held])
            shown_in_order = [held[index] for index in result.order]
            carried.append((pieces(result.carried, [len(each) for each in shown_in_order]), shown_in_order))
        simple = {name: np.concatenate([each.simple[name] for each in results]) for name in results[0].simple}
        return self._judge(answers, sequences, simple, carried)

    # ---- the final network -----------------------------------------------------------------------------------------
    def _fitted(self, until: int | None) -> StreamModel:
        """The network after its last stage: learnt from everything, or up to its best epoch on the held-out part."""
        model = self._new_model(0)
        division = self._material.division
        if self._state.stage != BUNDLE:
            judging = self._material.plain(division.judging)
            views = self._material.train_views(division.learnt)
            standing = self._learn(model, views, judging, FIT, "final fit" if until else "training", until=until)
            epochs = standing.best_epoch or standing.epoch
            weights = portable(model, encoder=self._fine_tuned)
            self._save(Checkpoint(self._recipe.digest, BUNDLE, epochs, self._spent_s(), weights, facts=self._facts))
        restore(model, self._state.model, str(self._folder / FILE))
        return model

    def _judge_held_out(self, model: StreamModel) -> tuple[Judgement, float, list[Stream]]:
        division = self._material.division
        held = with_features(self._material.plain(division.judging), model)
        order = np.random.default_rng([self._recipe.seed, 41]).permutation(len(held))
        ordered = [held[index] for index in order]
        simple = simple_scores(self._baselines(division.learnt, model), held)
        return self._judge(answer(model, held), held, simple, [(answer(model, ordered, carry=True), ordered)])

    def _judge(
        self,
        answers: Answers,
        sequences: Sequence[FeatureSequence],
        simple: Simple,
        carried: Sequence[tuple[Answers, list[FeatureSequence]]],
    ) -> tuple[Judgement, float, list[Stream]]:
        recipe, labels = self._recipe, self._dataset.labels
        warm = {"warm_up_s": recipe.warm_up_s}
        temperature = fit_temperature(answers, sequences, recipe.clip.aggregate, **warm)
        judgement = judge(
            self._material.division.how, answers, sequences, simple, recipe.clip, temperature=temperature,
            seed=recipe.seed, **warm,
        )  # fmt: skip
        rate = self._new_model(0).fps
        streams = [
            make_stream(said, shown_, labels, recipe.clip, rate, temperature=temperature) for said, shown_ in carried
        ]
        return judgement, temperature, streams

    # ---- learning --------------------------------------------------------------------------------------------------
    def _learn(
        self,
        model: StreamModel,
        views: Views,
        validation: Sequence[FeatureSequence],
        stage: str,
        title: str,
        *,
        until: int | None = None,
    ) -> Standing:
        """One stage, taken up again where an earlier run left it."""
        settings = self._recipe.learning
        start = Standing(**self._state.facts["standing"]) if self._state.stage == stage else Standing()
        chunks = chunks_of(views, settings)
        total = (min(settings.epochs, until or settings.epochs) - start.epoch) * chunks
        with (
            reporter(self._console, title, total) as news,
            board(self._folder / "tensorboard", stage, start.epoch * chunks) as log,
        ):
            return train_temporal(
                model, views, validation, settings, self._recipe.seed, labels=self._dataset.labels, news=news,
                after_epoch=lambda standing: self._keep(stage, standing), start=start, until=until, log=log,
                fine_tuned=self._fine_tuned, keep_answers=stage != FIT, aggregate=self._recipe.clip.aggregate,
            )  # fmt: skip

    def _keep(self, stage: str, standing: Standing) -> None:
        weights = standing.best_weights or standing.weights
        facts = {**self._facts, "standing": dict(vars(standing))}
        self._save(Checkpoint(self._recipe.digest, stage, standing.epoch, self._spent_s(), weights, facts=facts))

    @property
    def _fine_tuned(self) -> bool:
        return self._recipe.encoder == "fine_tuned"

    def _new_model(self, number: int) -> StreamModel:
        """The network as it starts: fold `number`, or 0 for the one that is kept."""
        recipe = self._recipe
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([recipe.seed, 42, number]).generate_state(1)[0]))
            return build_family(recipe.family, {**recipe.options, "labels": len(self._dataset.labels)})

    def _check_encoder(self, model: StreamModel) -> None:
        name = self._recipe.options.get("encoder")
        if name is None:
            raise ConfigError(
                f"the recipe {self._recipe.name} names no encoder: labelled video is learnt on one, such as "
                "options: {encoder: efficientnet_lite0}"
            )
        if name == "conv" and not self._fine_tuned:
            raise ConfigError(
                f"the recipe {self._recipe.name} freezes the encoder conv, which starts from random weights: "
                "set encoder: fine_tuned"
            )
        if self._fine_tuned and not list(model.encoder.parameters()):
            raise ConfigError(f"the recipe {self._recipe.name} fine-tunes the encoder {name}, which has no weights")

    # ---- state -----------------------------------------------------------------------------------------------------
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

    def _save(self, state: Checkpoint) -> None:
        self._state, self._since = replace(state, spent_s=self._spent_s()), time.monotonic()
        save_checkpoint(self._folder, self._state)

    def _spent_s(self) -> float:
        return self._state.spent_s + time.monotonic() - self._since

    def _tell(self, judgement: Judgement) -> None:
        figures = f"clip accuracy {shown(judgement.figures['accuracy'])}, AUC {shown(judgement.figures['auc'])}"
        self._say(f"{judgement.clips} clips, {judgement.where}: {figures}")
        if judgement.warning:
            self._say(judgement.warning)

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
