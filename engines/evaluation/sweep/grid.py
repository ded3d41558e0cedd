"""The combinations of a sweep: a recipe and its data with another picture size, clip length and family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import product

import msgspec

from engines.datasets.labelled import Dataset, LabelledVideo, Span
from engines.errors import ConfigError
from engines.families import FAMILIES
from engines.training.recipe import Recipe


@dataclass(frozen=True)
class Choice:
    """One combination: pictures of `size` x `size` pixels, and `frames` of each clip that are seen."""

    family: str
    size: int
    frames: int

    def __str__(self) -> str:
        return f"{self.family}, {self.size} px, {self.frames} frames"


def choices(sizes: Sequence[int], lengths: Sequence[int], families: Sequence[str]) -> list[Choice]:
    """All combinations, those of one size together, so that its features are made once.

    Raises:
        ConfigError: an unknown family.
    """
    unknown = [family for family in families if family not in FAMILIES]
    if unknown:
        raise ConfigError(f"there is no model family {unknown[0]!r}, known are {', '.join(sorted(FAMILIES))}")
    return [Choice(family, size, frames) for size, family, frames in product(sizes, families, lengths)]


def recipe_for(recipe: Recipe, choice: Choice) -> Recipe:
    """The recipe with this family, size and length: the gradient flows through as many steps as are seen.

    Options that another family than the recipe's own does not have are left out.
    """
    options = {**recipe.options, "height": choice.size, "width": choice.size}
    if choice.family != recipe.family:
        options = {name: value for name, value in options.items() if name in _known_options(choice.family)}
    length_s = choice.frames / rate_of(recipe)
    clip = msgspec.structs.replace(recipe.clip, length_s=length_s, stride_s=min(recipe.clip.stride_s, length_s))
    return msgspec.structs.replace(
        recipe,
        name=f"{choice.family}-{choice.size}-{choice.frames}",
        family=choice.family,
        options=options,
        learning=msgspec.structs.replace(recipe.learning, steps=max(2, choice.frames)),
        clip=clip,
    )


def dropped_options(recipe: Recipe, choice: Choice) -> tuple[str, ...]:
    """Options of the recipe that the choice's family does not have."""
    if choice.family == recipe.family:
        return ()
    known = _known_options(choice.family)
    return tuple(name for name in recipe.options if name not in known)


def shortened(dataset: Dataset, seconds: float) -> Dataset:
    """The dataset with at most the first `seconds` of every labelled span; shorter ones stay whole."""

    def cut(video: LabelledVideo) -> LabelledVideo:
        spans = tuple(Span(each.start_s, min(each.end_s, each.start_s + seconds), each.label) for each in video.spans)
        return replace(video, spans=spans)

    return replace(dataset, videos=tuple(cut(video) for video in dataset.videos))


def rate_of(recipe: Recipe) -> float:
    """Frames a second that the recipe's model sees."""
    known = _options_type(recipe.family)
    rate = recipe.options.get("fps", getattr(known, "fps", 8.0))
    if not isinstance(rate, int | float) or rate <= 0:
        raise ConfigError(f"the recipe {recipe.name} is wrong: options.fps must be a number above 0, found {rate!r}")
    return float(rate)


def _known_options(family: str) -> tuple[str, ...]:
    return tuple(_options_type(family).__struct_fields__)


def _options_type(family: str) -> type[msgspec.Struct]:
    module, _, attribute = FAMILIES[family].partition(":")
    found: type[msgspec.Struct] = getattr(import_module(module), attribute).options_type
    return found
