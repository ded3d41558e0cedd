"""Recipes: the shipped one is valid, and a wrong one gets one clear sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import ConfigError
from engines.training.scene.recipe import load_recipe

SHIPPED = Path(__file__).parents[2] / "configs" / "scene.yaml"
GOOD = "name: toy\nversion: 1.0.0\nlabels: [idle, passing, loitering, left_behind]\n"


def test_the_shipped_recipe_is_valid() -> None:
    recipe = load_recipe(SHIPPED)
    assert recipe.name == "scene"
    assert recipe.labels == ("idle", "passing", "loitering", "left_behind")


def test_the_digest_follows_what_is_learnt_and_not_the_machine(tmp_path: Path) -> None:
    digests = []
    for index, extra in enumerate(("", "workers: 3\n", "seed: 2\n")):
        path = tmp_path / f"{index}.yaml"
        path.write_text(GOOD + extra)
        digests.append(load_recipe(path).digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no settings"),
        ("- 1\n", "holds no settings"),
        ("name: [", "not valid YAML"),
        ("version: 1.0.0\nlabels: [a]\n", "missing required field `name`"),
        (GOOD + "sed: 1\n", "unknown key sed; did you mean seed"),
        (GOOD + "memory: {stepz: 4}\n", r"unknown key memory\.stepz; did you mean steps"),
        (GOOD + "memory: {steps: 1}\n", r">= 2.*memory\.steps"),
        (GOOD + "pictures: {epochs: many}\n", r"Expected `int`.*pictures\.epochs"),
        (GOOD + "lanes: 3\n", r"Expected `object`.*lanes"),
    ],
)
def test_a_wrong_recipe_gets_one_clear_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(path)
    assert "wrong.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no recipe"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="not a text file"):
        load_recipe(tmp_path / "bytes.yaml")
