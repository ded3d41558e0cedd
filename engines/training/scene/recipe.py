"""Training recipes: one short YAML file says what is trained, on how much, and how it is judged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec

from engines.manifest import ClipRule
from engines.training.recipe_file import convert_recipe, read_recipe

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=5)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Pictures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stage 1: the encoder learns from shuffled single pictures what is where."""

    scenes: Count = 3000
    per_scene: Count = 20
    epochs: Count = 5
    batch: Count = 128
    learning_rate: Rate = 0.003


class Lanes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stage 2 learns from: the encoder's features of whole scenes, most short, some long."""

    scenes: Count = 1000
    seconds: Seconds = 120.0
    long_scenes: Annotated[int, msgspec.Meta(ge=0)] = 160
    long_seconds: Seconds = 480.0


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stage 2: the recurrent part learns in parallel lanes by truncated backpropagation through time."""

    epochs: Count = 4
    lanes: Count = 24
    steps: Annotated[int, msgspec.Meta(ge=2)] = 48
    learning_rate: Rate = 0.008
    evidence_first: Share = 0.3
    reset: Share = 0.05
    drop: Share = 0.5
    warm_up_steps: Annotated[int, msgspec.Meta(ge=0)] = 10
    clip_norm: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Held-out scenes: some choose the event rules, the others give the figures in the bundle."""

    validation_scenes: Count = 16
    test_scenes: Count = 24
    seconds: Seconds = 300.0
    width: Count = 640
    height: Count = 360
    fps: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    h264_kbit: Annotated[int, msgspec.Meta(ge=0)] = 500


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole training; `digest` names its content."""

    name: str
    version: str
    labels: tuple[str, ...]
    summary: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 1
    workers: Annotated[int, msgspec.Meta(ge=0)] = 0
    family: str = "cnn_lstm"
    options: dict[str, object] = {}
    pictures: Pictures = Pictures()
    lanes: Lanes = Lanes()
    memory: Memory = Memory()
    evaluation: Evaluation = Evaluation()
    clip: ClipRule = ClipRule(aggregate="last")
    warm_up_s: Annotated[float, msgspec.Meta(ge=0)] = 2.0

    @property
    def digest(self) -> str:
        """SHA-256 of all that changes what is learnt; the number of workers does not."""
        return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(self, workers=0))).hexdigest()


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        ConfigError: the file is missing, no YAML, or a key or value is not allowed; the message names it.
    """
    return convert_recipe(read_recipe(path), Recipe, path)
