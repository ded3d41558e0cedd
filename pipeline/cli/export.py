"""`vidpipe export`: a bundle from a pretrained encoder, a recipe or a checkpoint, verified before it is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from engines.comparison import VerifyReport
    from engines.exporting import Draft
    from engines.manifest import Manifest


def export(
    recipe: Annotated[Path | None, typer.Argument(metavar="RECIPE", help="A YAML recipe; else --encoder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the bundle: new or empty. Needed.")] = None,
    encoder: Annotated[str | None, typer.Option(help="efficientnet_lite0 or mobilenet_v2; the rest is random.")] = None,
    size: Annotated[str | None, typer.Option(help="Frame in pixels, as 224 or WIDTHxHEIGHT. Default: 224.")] = None,
    family: Annotated[str | None, typer.Option(help="What remembers. Default: cnn_lstm.")] = None,
    labels: Annotated[str | None, typer.Option(help="Names, with commas. Default: class_0,class_1.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second that the model sees. Default: 8.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the random weights. Default: 0.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Folder of a training with the RECIPE.")] = None,
    steps: Annotated[int, typer.Option(min=8, help="Frames of the longest camera in the verification.")] = 200,
    json: Annotated[bool, typer.Option("--json", help="Print manifest and report as one JSON object.")] = False,
) -> None:
    """Write a model bundle (two ONNX graphs, manifest, card) and verify it on every back end that is here.

    From --encoder, the encoder is pretrained and everything after it random. From a RECIPE, all weights are random
    unless --checkpoint names the folder of its training. The card and the manifest say which it is.

    Example: vidpipe export --encoder efficientnet_lite0 --size 224 --family cnn_lstm --out models/lite0
    """
    from engines.errors import ConfigError

    if out is None:
        raise ConfigError("vidpipe export needs the folder for the bundle: --out models/my-model")
    given = {"--size": size, "--family": family, "--labels": labels, "--fps": fps, "--seed": seed}
    if (recipe is None) == (encoder is None):
        raise ConfigError("vidpipe export needs one of two: a RECIPE, or --encoder and an encoder's name")
    if recipe is not None and (wrong := [option for option, value in given.items() if value is not None]):
        raise ConfigError(f"{', '.join(wrong)} cannot go with a recipe: it says itself what the network is")
    if recipe is None and checkpoint is not None:
        raise ConfigError("--checkpoint needs the RECIPE that it was trained with")
    _export(recipe, out, _order(encoder or "", size, family, labels, fps, seed), checkpoint, steps, json)


def _export(
    recipe: Path | None, out: Path, order: dict[str, object], checkpoint: Path | None, steps: int, json: bool
) -> None:
    # BLAS threads would spin against the engine's own; numpy reads this when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from engines.errors import MissingExtraError
    from engines.training.recipe import load_recipe
    from pipeline.cli.log import log_to_stderr
    from pipeline.cli.tables import waiting

    log_to_stderr()
    try:
        from engines import exporting
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("vidpipe export", "torch", "train") from error
    exporting.check_free(out)
    with waiting(f"exporting {out}") as tell:
        tell("making the network")
        if recipe is not None:
            draft = exporting.draft_of_recipe(load_recipe(recipe), checkpoint)
        else:
            draft = exporting.draft_of_encoder(out.resolve().name, exporting.EncoderOrder(**order))  # type: ignore[arg-type]
        manifest, report = exporting.export(draft, out, steps=steps, progress=tell)
    _tell(out, draft, manifest, report, json)


def _order(
    encoder: str, size: str | None, family: str | None, labels: str | None, fps: float | None, seed: int | None
) -> dict[str, object]:
    """What was given, as arguments of `EncoderOrder`; whatever was not keeps its default there."""
    height, width = _parse_size(size)
    order = {"family": family, "height": height, "width": width, "labels": _parse_labels(labels), "fps": fps}
    return {"encoder": encoder} | {key: value for key, value in {**order, "seed": seed}.items() if value is not None}


def _parse_size(size: str | None) -> tuple[int | None, int | None]:
    from engines.errors import ConfigError

    if size is None:
        return None, None
    parts = size.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise ConfigError(f"--size is {size!r}: give the pixels as 224, or as WIDTHxHEIGHT such as 320x192")
    return int(parts[-1]), int(parts[0])


def _parse_labels(labels: str | None) -> tuple[str, ...] | None:
    from engines.errors import ConfigError

    if labels is None:
        return None
    names = tuple(name.strip() for name in labels.split(","))
    if "" in names or len(set(names)) < max(2, len(names)):
        raise ConfigError(f"--labels is {labels!r}: give two or more different names with commas, such as idle,alarm")
    return names


def _tell(out: Path, draft: Draft, manifest: Manifest, report: VerifyReport, json: bool) -> None:
    if json:
        import msgspec

        facts = {"folder": str(out), "state": draft.state, "manifest": manifest, "verification": report}
        typer.echo(msgspec.json.encode(facts).decode())
        return
    from engines.exporting import silent_controls

    size = sum((out / name).stat().st_size for name in manifest.files) / 1e6
    what = f"{manifest.family}, {manifest.input.width}x{manifest.input.height} at {manifest.input.fps:g} frames/s"
    typer.echo(f"wrote {out}: {what}, labels {', '.join(manifest.labels)}, {size:.1f} MB")
    typer.echo(f"state of the weights: {draft.state}; {manifest.summary}")
    names = ", ".join(dict.fromkeys(check.backend for check in report.checks))
    passed = sum(check.passed for check in report.checks)
    typer.echo(f"verified on {names}: {passed} of {len(report.checks)} checks passed, {report.steps} steps")
    if silent := silent_controls(report):
        typer.echo(f"untrained, it hardly reacts to what it sees, so that these prove nothing: {', '.join(silent)}")
    for sentence in report.not_compared:
        typer.echo(f"not compared with {sentence}")
    typer.echo(f"use it with `model: {out}` in the configuration")
