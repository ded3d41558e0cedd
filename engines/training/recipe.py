"""Recipes for labelled video: one short YAML file says what is learnt from which clips, how, and how it is judged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from engines.datasets.augment import Augmentation
from engines.errors import ConfigError
from engines.home import user_path
from engines.manifest import ClipRule
from engines.training.learning import Learning
from engines.training.recipe_file import convert_recipe, read_recipe
from engines.training.scene.recipe import Recipe as SceneRecipe

Count = Annotated[int, msgspec.Meta(ge=1)]
Whole = Annotated[int, msgspec.Meta(ge=0)]
Part = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Validation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the training is judged on while it runs; at most one. None: the split `val`, else a fifth by group."""

    split: str = ""
    share: Part = 0.0
    folds: Whole = 0

    def __post_init__(self) -> None:
        if sum((bool(self.split), self.share > 0, self.folds > 0)) > 1:
            raise ValueError("validation takes one of split, share and folds")
        if self.folds == 1:
            raise ValueError("validation.folds must be 2 or more")


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which clips: a folder with one folder per label, or a CSV manifest; a relative path starts at the recipe.

    `train` is the split to learn from; empty: `train` where there are splits, else everything.
    """

    path: str
    train: str = ""
    validation: Validation = Validation()
    background: str = ""
    views: Count = 1
    augment: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        if self.views == 1 and self.augment != Augmentation():
            raise ValueError("data.augment needs data.views of 2 or more: the first view of a clip is the plain one")


class Events(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How event rules are chosen: for the best F1, or for the least delay with at most so many false alarms an hour."""

    false_alarms_per_hour: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole training on labelled video; `digest` names its content."""

    name: str
    family: str
    data: Data
    version: str = "1.0.0"
    summary: str = ""
    notes: str = ""
    seed: Whole = 1
    labels: tuple[str, ...] = ()
    options: dict[str, object] = {}
    encoder: Literal["frozen", "fine_tuned"] = "frozen"
    learning: Learning = Learning()
    clip: ClipRule = ClipRule()
    events: Events = Events()
    warm_up_s: Seconds = 1.0
    threads: Whole = 0

    @property
    def digest(self) -> str:
        """SHA-256 of all that changes what is learnt: not where the data lie, the number of threads, or mere words."""
        data = msgspec.structs.replace(self.data, path="")
        learnt = msgspec.structs.replace(self, data=data, threads=0, summary="", notes="")
        return hashlib.sha256(msgspec.json.encode(learnt)).hexdigest()

    @property
    def fine_tuned(self) -> bool:
        """Whether the encoder learns too."""
        return self.encoder == "fine_tuned"

    @property
    def public(self) -> dict[str, object]:
        """The recipe as plain values to be kept in a bundle, without the folders of this machine."""
        path = Path(self.data.path)
        data = msgspec.structs.replace(self.data, path=path.name if path.is_absolute() else self.data.path)
        return dict(msgspec.to_builtins(msgspec.structs.replace(self, data=data)))

    def data_path(self, recipe: Path) -> Path:
        """Where the data lie: relative paths start at the recipe's folder."""
        return recipe.parent / user_path(self.data.path)


def load_recipe(path: Path) -> Recipe | SceneRecipe:
    """Read and check a recipe: one with the key `data` is for labelled video, one without is the scene's.

    Raises:
        ConfigError: the file is missing, no YAML, or a key or value is not allowed; the message names it.
    """
    content = read_recipe(path)
    if "data" not in content:
        if ours := [key for key in ("learning", "encoder", "events") if key in content]:
            raise ConfigError(
                f"the recipe {path} has {ours[0]} and no data: say where the clips are (data: {{path: clips}})"
            )
        return convert_recipe(content, SceneRecipe, path)
    recipe = convert_recipe(content, Recipe, path)
    if recipe.labels and len(set(recipe.labels)) != max(2, len(recipe.labels)):
        raise ConfigError(f"the recipe {path} is wrong: labels must be two or more different names, or be left out")
    if not recipe.name or Path(recipe.name).name != recipe.name:
        raise ConfigError(f"the recipe {path} is wrong: name is {recipe.name!r}, and it becomes the bundle's folder")
    return recipe
