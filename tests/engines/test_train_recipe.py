"""Recipes for labelled video: defaults that are enough, one sentence for what is wrong, a digest of what is learnt."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from engines.datasets.draws import Augmentation
from engines.errors import ConfigError
from engines.training.learning import Learning
from engines.training.recipe import Data, Events, Recipe, Validation, load_recipe
from engines.training.scene.recipe import Recipe as SceneRecipe

CONFIGS = Path(__file__).parents[2] / "configs"
SHORT = "name: toy\nfamily: gru\noptions: {encoder: efficientnet_lite0}\ndata: {path: clips}\n"


def load(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    found = load_recipe(path)
    assert isinstance(found, Recipe)
    return found


def test_name_family_encoder_and_data_are_enough(tmp_path: Path) -> None:
    recipe = load(tmp_path, SHORT)
    assert recipe.data_path(tmp_path / "recipe.yaml") == tmp_path / "clips"
    assert (recipe.encoder, recipe.learning.loss, recipe.labels) == ("frozen", "cross_entropy", ())


def test_the_shipped_recipes_are_valid_and_of_their_kinds() -> None:
    assert isinstance(load_recipe(CONFIGS / "clips.yaml"), Recipe)
    assert isinstance(load_recipe(CONFIGS / "scene.yaml"), SceneRecipe)


@pytest.mark.parametrize("kind", [Recipe, Data, Validation, Learning, Augmentation, Events])
def test_the_guide_names_every_key(kind: type[msgspec.Struct]) -> None:
    guide = (CONFIGS.parent / "docs" / "training.md").read_text()
    missing = [field.name for field in msgspec.structs.fields(kind) if not re.search(rf"\b{field.name}\b", guide)]
    assert not missing


def test_the_digest_follows_what_is_learnt_and_not_the_machine(tmp_path: Path) -> None:
    texts = [SHORT, SHORT + "threads: 3\n", SHORT.replace("path: clips", "path: /else/where"), SHORT + "seed: 2\n"]
    digests = [load(tmp_path, text).digest for text in texts]
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_a_bundle_does_not_learn_of_this_machines_folders(tmp_path: Path) -> None:
    public = load(tmp_path, SHORT.replace("path: clips", "path: /home/me/clips.csv")).public
    assert public["data"]["path"] == "clips.csv"  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHORT + "sed: 1\n", "unknown key sed; did you mean seed"),
        (SHORT + "learning: {loss: fokal}\n", "has learning.loss: fokal, which is not known; did you mean focal"),
        (SHORT + "encoder: warm\n", "has encoder: warm, which is not known; allowed are frozen, fine_tuned"),
        (SHORT + "learning: {learning_rat: 1}\n", r"unknown key learning\.learning_rat; did you mean learning_rate"),
        (
            SHORT.replace("clips}", "clips, augment: {flap: true}}"),
            r"unknown key data\.augment\.flap; did you mean flip",
        ),
        (SHORT.replace("clips}", "clips, validation: {fold: 5}}"), r"data\.validation\.fold; did you mean folds"),
        (SHORT.replace("clips}", "clips, validation: {folds: 1}}"), r"folds must be 2 or more"),
        (SHORT.replace("clips}", "clips, validation: {folds: 5, share: 0.2}}"), r"one of split, share and folds"),
        (SHORT.replace("clips}", "clips, augment: {flip: true}}"), r"data\.augment needs data\.views of 2 or more"),
        (SHORT + "learning: {loss: hinge}\n", r"learning\.loss: hinge.*cross_entropy"),
        (SHORT + "learning: {drop_rate: [0.5, 0.1]}\n", "drop_rate is a range"),
        (SHORT + "learning: {draw: by_label, loss: logit_adjusted}\n", "do not combine it with loss: logit_adjusted"),
        (SHORT + "encoder: thawed\n", r"encoder: thawed.*frozen, fine_tuned"),
        (SHORT + "labels: [a, a]\n", "two or more different names"),
        (SHORT + "labels: [a]\n", "two or more different names"),
        (SHORT.replace("name: toy", "name: a/b"), "becomes the bundle's folder"),
        ("name: toy\ndata: {path: x}\n", "missing required field `family`"),
        ("name: toy\nfamily: gru\nlearning: {epochs: 3}\n", "has learning and no data: say where the clips are"),
        ("name: toy\nfamily: gru\ndata: 5\n", r"Expected `object`.*data"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)
