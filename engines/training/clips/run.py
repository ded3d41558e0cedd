"""A whole training on labelled video: encode, cross-validate or hold out, fit, judge, and write the bundle."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from engines.clips import warm_from_s
from engines.datasets.labelled import Dataset
from engines.datasets.splits import Fold, Videos
from engines.errors import ConfigError, MissingExtraError
from engines.evaluation.baselines import Baselines, fit_baselines
from engines.families import build_family
from engines.families.contract import StreamModel
from engines.training.answers import Answers, answer
from engines.training.clips.bundling import Result, make_bundle
from engines.training.clips.calibration import fit_temperature
from engines.training.clips.folds import FoldResult, final_epochs, judging_epochs, load_fold, pieces, save_fold
from engines.training.clips.judging import Judgement, Simple, judge, shown, simple_scores
from engines.training.clips.material import Material, prepare, video_alone, with_features
from engines.training.clips.rules import Stream, choose_rules, make_stream
from engines.training.clips.stages import FIT, Stages
from engines.training.recipe import Recipe
from engines.training.sequences import FeatureSequence

MODEL_SEED, ORDER_SEED = 42, 41

HONEST_FOLDS = (
    "Every clip was judged by a network that saw nothing of its group. How many epochs that network learnt was chosen "
    "on the other folds. The temperature was chosen on these same clips, which flatters the calibration error and the "
    "Brier score a little. The network in this bundle learnt from all of these videos and was itself not judged."
)
HONEST_HELD_OUT = (
    "The network learnt from no clip of these groups, but its number of epochs and its temperature were chosen on "
    "them, which flatters the figures a little: measure it on clips that nothing was chosen on."
)


@dataclass(frozen=True)
class HeldOut:
    """What was said of videos that were not learnt from.

    Attributes:
        answers: logits of each sequence from a fresh state.
        sequences: the videos.
        simple: what baselines say of each clip.
        streams: the same videos in other orders, with logits whose state was carried over from one to the next.
    """

    answers: Answers
    sequences: list[FeatureSequence]
    simple: Simple
    streams: list[tuple[Answers, list[FeatureSequence]]]


class ClipTraining:
    """One training in a folder; `run` does what is left to do and returns the bundle's folder.

    Raises:
        ConfigError: family, options or encoder are wrong or do not go together.
        MissingExtraError: a package that the training will need is not installed.
        TrainingError: see `Stages`.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        folder: Path,
        console: Console,
        *,
        fresh: bool = False,
        threads: int | None = None,
        cache: Path | None = None,
    ) -> None:
        check_packages()
        if threads or recipe.threads:
            torch.set_num_threads(threads or recipe.threads)
        self._recipe, self._dataset, self._folder, self._console = recipe, dataset, folder, console
        self._cache = cache or folder / "cache"
        check_background(recipe, dataset)
        model = self._new_model(0)
        check_encoder(recipe, model)
        self._rate_hz = model.fps
        self._stages = Stages(recipe, dataset, folder, console, fresh=fresh)

    @property
    def bundle(self) -> Path:
        """Where the bundle is written."""
        return self._folder / self._recipe.name

    def cross_validate(self) -> Judgement:
        """Train and judge all folds, and nothing else.

        Raises:
            ConfigError: the recipe asks for no folds.
        """
        if not self._recipe.data.validation.folds:
            raise ConfigError(
                f"the recipe {self._recipe.name} has no folds to cross-validate: add data.validation: {{folds: 5}}"
            )
        return self._judge(self._out_of_folds())[0]

    def run(self) -> Path:
        """Train what is not trained yet, then judge, calibrate and write the bundle."""
        folds = bool(self._material.division.folds)
        model = self._fitted(final_epochs([each.best_epoch for each in self._folds]) if folds else None)
        judgement, temperature, streams = self._judge(self._out_of_folds() if folds else self._held_out(model))
        model.temperature.fill_(temperature)
        self._stages.finish(model, self._stages.epochs)
        background = self._recipe.data.background
        labels = [label for label in self._dataset.labels if label != background]
        events = choose_rules(
            streams, self._dataset.labels, labels, self._recipe.clip,
            most_false_per_hour=self._recipe.events.false_alarms_per_hour,
        )  # fmt: skip
        honest = HONEST_FOLDS if folds else HONEST_HELD_OUT
        result = Result(
            judgement, temperature, events, self._stages.epochs, self._stages.spent_s, honest, self._stages.data_sha256
        )
        baselines = self._baselines(self._material.division.learnt, model)
        make_bundle(self.bundle, model, self._recipe, material=self._material, baselines=baselines, result=result)
        self._tell(judgement)
        return self.bundle

    # ---- the network that is kept ----------------------------------------------------------------------------------
    def _fitted(self, until: int | None) -> StreamModel:
        """The network after `until` epochs on everything, or with its best weights on the held-out part."""
        model, material = self._new_model(0), self._material
        if not self._stages.fitted:
            views, judging = material.train_views(material.division.learnt), material.plain(material.division.judging)
            title = "final fit" if until else "training"
            standing = self._stages.learn(model, views, judging, stage=FIT, title=title, until=until)
            self._stages.finish(model, standing.best_epoch or standing.epoch)
        self._stages.recall(model)
        return model

    def _held_out(self, model: StreamModel) -> HeldOut:
        division = self._material.division
        held = with_features(self._material.plain(division.judging), model)
        ordered = [held[index] for index in self._order(len(held))]
        simple = simple_scores(self._baselines(division.learnt, model), video_alone(held, model))
        return HeldOut(answer(model, held), held, simple, [(answer(model, ordered, carry=True), ordered)])

    # ---- folds -----------------------------------------------------------------------------------------------------
    @cached_property
    def _folds(self) -> list[FoldResult]:
        return [self._fold(number, fold) for number, fold in enumerate(self._material.division.folds, 1)]

    def _fold(self, number: int, fold: Fold) -> FoldResult:
        path = self._folder / "folds" / f"fold-{number}.npz"
        found = load_fold(path, self._stages.digest)
        if found is not None:
            return found
        model, held = self._new_model(number), self._material.plain(fold.validation)
        title = f"fold {number}/{len(self._material.division.folds)}"
        views = self._material.train_views(fold.train)
        standing = self._stages.learn(model, views, held, stage=f"fold-{number}", title=title)
        held = with_features(held, model)
        order = self._order(len(held))
        carried = np.concatenate(answer(model, [held[index] for index in order], carry=True))
        simple = simple_scores(self._baselines(fold.train, model), video_alone(held, model))
        answers = np.stack([epoch.numpy() for epoch in standing.answers])
        result = FoldResult(max(1, standing.best_epoch), answers, carried, order, simple)
        save_fold(path, result, self._stages.digest)
        return result

    def _out_of_folds(self) -> HeldOut:
        """Each video as the network of the fold that did not learn from it judges it."""
        results = self._folds
        answers: Answers = []
        sequences: list[FeatureSequence] = []
        streams = []
        epochs = judging_epochs([each.best_epoch for each in results], [len(each.answers) for each in results])
        for fold, result, epoch in zip(self._material.division.folds, results, epochs, strict=True):
            held = self._material.plain(fold.validation)
            sequences += held
            answers += pieces(result.answers[epoch - 1], [len(each) for each in held])
            ordered = [held[index] for index in result.order]
            streams.append((pieces(result.carried, [len(each) for each in ordered]), ordered))
        simple = {name: np.concatenate([each.simple[name] for each in results]) for name in results[0].simple}
        return HeldOut(answers, sequences, simple, streams)

    # ---- judging ---------------------------------------------------------------------------------------------------
    def _judge(self, found: HeldOut) -> tuple[Judgement, float, list[Stream]]:
        recipe, clip, warm_s = self._recipe, self._recipe.clip, warm_from_s(self._recipe.warm_up_s, self._rate_hz)
        temperature = fit_temperature(found.answers, found.sequences, clip.aggregate, warm_s=warm_s)
        judgement = judge(
            self._material.division.how, found.answers, found.sequences, found.simple, clip,
            temperature=temperature, warm_s=warm_s, seed=recipe.seed,
        )  # fmt: skip
        streams = [
            make_stream(said, sequences, self._dataset.labels, clip, self._rate_hz, temperature=temperature)
            for said, sequences in found.streams
        ]
        return judgement, temperature, streams

    def _baselines(self, videos: Videos, model: StreamModel) -> Baselines:
        """Baselines of videos as the model's encoder sees them; clips as long as those that will be judged."""
        sequences = video_alone(with_features(self._material.plain(videos), model), model)
        clip_s = math.inf if self._material.whole else self._recipe.clip.length_s
        return fit_baselines(sequences, self._dataset.labels, clip_s=clip_s, seed=self._recipe.seed)

    def _tell(self, judgement: Judgement) -> None:
        figures = f"clip accuracy {shown(judgement.figures['accuracy'])}, AUC {shown(judgement.figures['auc'])}"
        self._say(f"{judgement.clips} {self._material.unit}, {judgement.where}: {figures}")
        self._say(judgement.comparison.sentence)
        self._say(f"wrote {self.bundle}")

    # ---- parts -----------------------------------------------------------------------------------------------------
    @cached_property
    def _material(self) -> Material:
        material = prepare(self._dataset, self._recipe, self._new_model(0), self._cache, console=self._console)
        for skipped in material.skipped:
            self._say(f"skipped {skipped.reason}")
        self._say(material.summary)
        return material

    def _new_model(self, number: int) -> StreamModel:
        """The network as it starts: that of fold `number`, or 0 for the one that is kept."""
        with torch.random.fork_rng(devices=[]):
            seed = np.random.SeedSequence([self._recipe.seed, MODEL_SEED, number]).generate_state(1)[0]
            torch.manual_seed(int(seed))
            return build_family(self._recipe.family, {**self._recipe.options, "labels": len(self._dataset.labels)})

    def _order(self, count: int) -> np.ndarray:
        """In which videos are joined into a stream."""
        return np.random.default_rng([self._recipe.seed, ORDER_SEED]).permutation(count)

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def check_packages() -> None:
    """Whether all is here that the training needs up to its end; raises MissingExtraError before the long work."""
    for module, package in (
        ("sklearn", "scikit-learn"), ("tensorboard", "tensorboard"), ("onnx", "onnx"), ("onnxscript", "onnxscript")
    ):  # fmt: skip
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("vidpipe train", package, "train")


def check_background(recipe: Recipe, dataset: Dataset) -> None:
    """Whether the background is one of the labels; raises ConfigError."""
    background = recipe.data.background
    if background and background not in dataset.labels:
        raise ConfigError(
            f"the recipe {recipe.name} calls {background!r} the background, and the labels are "
            f"{', '.join(dataset.labels)}: name one of them in data.background, or leave it out"
        )


def check_encoder(recipe: Recipe, model: StreamModel) -> None:
    """Whether the encoder can be used as the recipe says; raises ConfigError."""
    name = recipe.options.get("encoder")
    if name is None:
        raise ConfigError(
            f"the recipe {recipe.name} names no encoder: labelled video is learnt on one, such as "
            "options: {encoder: efficientnet_lite0}"
        )
    if name == "conv" and not recipe.fine_tuned:
        raise ConfigError(
            f"the recipe {recipe.name} freezes the encoder conv, which starts from random weights: "
            "set encoder: fine_tuned"
        )
    if recipe.fine_tuned and not list(model.encoder.parameters()):
        raise ConfigError(f"the recipe {recipe.name} fine-tunes the encoder {name}, which has no weights to tune")
