"""From a pretrained encoder, a recipe or a checkpoint to a verified bundle in a folder that was empty."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from engines.bundle import load_bundle
from engines.comparison import VerifyReport
from engines.encoders import find_pretrained
from engines.encoders.provenance import encoder_facts
from engines.errors import ConfigError, ModelError, TrainingError
from engines.export import write_bundle
from engines.families import build_family
from engines.families.contract import StreamModel
from engines.home import user_path
from engines.manifest import SCHEMA, FrameInput, Manifest
from engines.training.checkpoint import FILE, Checkpoint, load_checkpoint, restore
from engines.training.recipe import Recipe
from engines.training.scene.recipe import Recipe as SceneRecipe
from engines.verify import verify

UNTRAINED = "untrained"

_CARD = """# {name} {version}

**{headline}**

{summary}

Labels: {labels}. Input {width}x{height} BGR at {fps:g} frames/s. Family `{family}`{encoder}.

## What was trained
{trained}

## How good it is
Not measured: `vidpipe export` writes and verifies the graphs, it judges nothing. That a bundle is verified means that
every back end computes what the network computes, and not that the answers are right.
"""


@dataclass(frozen=True)
class Draft:
    """A network and what its bundle says of it; `state` is in plain words how far it was trained."""

    model: StreamModel
    about: Manifest
    card: str
    state: str


@dataclass(frozen=True)
class EncoderOrder:
    """What to build around a pretrained encoder: height and width in pixels, 0 for what it was trained at."""

    encoder: str
    family: str = "cnn_lstm"
    height: int = 0
    width: int = 0
    fps: float = 8.0
    labels: tuple[str, ...] = ("class_0", "class_1")
    seed: int = 0


def draft_of_encoder(name: str, order: EncoderOrder) -> Draft:
    """A pretrained encoder under a temporal part with random weights, which are the same for the same seed.

    Raises:
        ConfigError: encoder or family is unknown, the encoder has no pretrained weights, or it does not take frames of
            this size.
        MissingExtraError: torch or the package with the weights is not installed.
        ModelError: the weights are damaged.
    """
    info = find_pretrained(order.encoder)
    options = {"encoder": info.name, "height": order.height, "width": order.width, "fps": order.fps}
    torch.manual_seed(order.seed)
    model = build_family(order.family, {**options, "labels": len(order.labels)})
    about = _about(name, f"0.0.0+{UNTRAINED}", order.family, order.labels, model)
    provenance: dict[str, object] = {"state": UNTRAINED, "seed": order.seed, "encoder": encoder_facts(info.name)}
    summary = f"{info.name} with an untrained temporal part: its predictions mean nothing."
    about = msgspec.structs.replace(about, summary=summary, training=provenance)
    trained = (
        f"The encoder: {info.origin}. The layers after it are random (seed {order.seed}): train them before you use "
        "this for anything but measuring speed and testing a pipeline."
    )
    return Draft(model, about, _card(about, "UNTRAINED: its predictions mean nothing.", trained), UNTRAINED)


def draft_of_recipe(recipe: Recipe | SceneRecipe, checkpoint: Path | None) -> Draft:
    """The recipe's network: from a training's folder (or its `checkpoint.pt`), or untrained.

    Raises:
        ConfigError: the recipe's family or its options are wrong, or nothing says what the labels are.
        MissingExtraError: torch or the package with an encoder's weights is not installed.
        TrainingError: there is no checkpoint, it is damaged, or it belongs to another recipe.
    """
    found = _checkpoint(checkpoint, recipe) if checkpoint is not None else None
    torch.manual_seed(recipe.seed)
    labels = _labels(recipe, found)
    model = build_family(recipe.family, {**recipe.options, "labels": len(labels)})
    if found is not None and found.model:
        restore(model, found.model, f"the checkpoint in {checkpoint}")
    state = _state(found)
    suffix = "" if state.startswith("trained") else f"+{state.split()[0]}"
    about = _about(recipe.name, recipe.version + suffix, recipe.family, labels, model)
    provenance: dict[str, object] = {
        "state": state,
        "recipe_sha256": recipe.digest,
        "recipe": recipe.public if isinstance(recipe, Recipe) else msgspec.to_builtins(recipe),
    }
    if "encoder" in recipe.options:
        provenance["encoder"] = encoder_facts(str(recipe.options["encoder"]))
    nothing = state == UNTRAINED
    about = msgspec.structs.replace(
        about,
        clip=recipe.clip,
        warm_up_s=recipe.warm_up_s,
        summary=f"{state.capitalize()}. {recipe.summary}".strip(),
        training=provenance,
    )
    headline = "UNTRAINED: its predictions mean nothing." if nothing else f"{state.capitalize()}."
    trained = "Nothing: its weights are random." if nothing else f"By `vidpipe train`: {state}."
    trained += " The recipe is in `manifest.yaml` (`training.recipe`)."
    return Draft(model, about, _card(about, headline, trained), state)


def check_free(folder: Path) -> None:
    """Refuse a folder that already holds something.

    Raises:
        ConfigError: it is a file, not empty, or cannot be read.
    """
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read: {error.strerror}: choose another folder") from error
    if taken:
        what = "is not empty" if folder.is_dir() else "is a file"
        raise ConfigError(f"{folder} {what}, and a bundle gets a folder of its own: choose another with --out")


def export(
    draft: Draft, folder: Path, *, steps: int = 200, progress: Callable[[str], None] = lambda _: None
) -> tuple[Manifest, VerifyReport]:
    """Write the bundle, verify it on every back end that is here, and only then move it to `folder`.

    Of an untrained network only the controls may fail; see `silent_controls`.

    Raises:
        ConfigError: the folder is not empty or cannot be written.
        MissingExtraError: onnx or onnxscript is not installed.
        ModelError: the bundle does not verify; `folder` is left as it was.
    """
    folder = user_path(folder).resolve()
    check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as work:
            part = Path(work) / folder.name
            progress("writing the graphs")
            manifest = write_bundle(part, draft.model, draft.about, draft.card)
            report = verify(load_bundle(part), steps=steps, progress=progress)
            _check_verified(report, draft.state)
            part.replace(folder)
    except OSError as error:
        raise ConfigError(f"the bundle cannot be written to {folder}: {error.strerror or error}") from error
    return manifest, report


def silent_controls(report: VerifyReport) -> list[str]:
    """Controls that did not differ: the network hardly reacts to what it sees, as one with random weights may."""
    return [f"{check.check} on {check.backend}" for check in report.checks if check.must_differ and not check.passed]


def _check_verified(report: VerifyReport, state: str) -> None:
    silent = silent_controls(report)
    wrong = [f"{each.check} on {each.backend}" for each in report.checks if not (each.passed or each.must_differ)]
    if wrong:
        reason = "an engine does not compute what the network does"
    elif silent and state != UNTRAINED:
        reason = "the network hardly reacts to what it sees, so nothing can be proven of it"
    else:
        return
    failed = [*wrong, *silent]
    raise ModelError(
        f"the exported bundle failed {len(failed)} of {len(report.checks)} checks, so nothing was written: {reason} "
        f"({', '.join(failed)})"
    )


def _labels(recipe: Recipe | SceneRecipe, found: Checkpoint | None) -> tuple[str, ...]:
    """Those of the recipe, else those that the training found in its data."""
    if recipe.labels:
        return recipe.labels
    if found is None or "labels" not in found.facts:
        raise ConfigError(
            f"the recipe {recipe.name} leaves its labels to the data: name them in it (labels: [a, b]), or give the "
            "folder of its training with --checkpoint"
        )
    return tuple(found.facts["labels"])


def _checkpoint(path: Path, recipe: Recipe | SceneRecipe) -> Checkpoint:
    folder = path.parent if path.name == FILE else path
    advice = "name the folder of a training with this recipe"
    found = load_checkpoint(folder, recipe.digest, advice, family=recipe.family)
    if found is None:
        raise TrainingError(f"there is no {FILE} in {folder}: name the folder that `vidpipe train` wrote to")
    return found


def _state(found: Checkpoint | None) -> str:
    if found is None or not found.model:
        return UNTRAINED
    if found.stage == "bundle":
        return "trained, but not judged"
    return f"unfinished training, stage {found.stage}, {found.epoch} epochs of it done"


def _about(name: str, version: str, family: str, labels: tuple[str, ...], model: StreamModel) -> Manifest:
    frame = FrameInput(*model.frame_shape, model.fps)
    return Manifest(SCHEMA, name, version, family, labels, frame, model.features, (), {})


def _card(about: Manifest, headline: str, trained: str) -> str:
    facts = about.training.get("encoder")
    return _CARD.format(
        name=about.name,
        version=about.version,
        headline=headline,
        summary=about.summary,
        labels=", ".join(f"`{label}`" for label in about.labels),
        width=about.input.width,
        height=about.input.height,
        fps=about.input.fps,
        family=about.family,
        encoder=f" on the encoder `{facts['name']}`" if isinstance(facts, dict) else "",
        trained=trained,
    )
