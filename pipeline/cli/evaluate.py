"""`vidpipe evaluate`: how good a model is on labelled video, with intervals and simple baselines beside it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from engines.evaluation.record import Evaluation
    from engines.evaluation.resampling import Figure
    from engines.manifest import Manifest


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundle's name or folder.")],
    data: Annotated[
        Path, typer.Option(help="A CSV manifest (path, label, split, group, start, end) or class folders.")
    ],
    split: Annotated[str, typer.Option(help="Judge the rows of this split only; else every row.")] = "",
    background: Annotated[
        str | None,
        typer.Option(help="Label of unmarked time in videos with intervals. Default: as in the model's training."),
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino, onnxruntime or torch.")] = "auto",
    report: Annotated[Path | None, typer.Option(help="Write the report to this HTML file.")] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Draws of groups behind each interval.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws, and of the order of the joined stream.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the encoder. Default: one per CPU.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Judge a model on labelled video, run as it serves: figures with 95 % intervals by group, and simple baselines.

    The first line says so when the model does not beat the best baseline.

    Example: vidpipe evaluate fight --data clips/manifest.csv --split val --report report.html
    """
    # BLAS threads would spin against the engine's own; numpy reads this when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import msgspec

    from engines.bundle import load_bundle
    from engines.datasets.reading import load_dataset
    from engines.evaluation.evaluate import evaluate as judge
    from engines.evaluation.judging import Order
    from engines.evaluation.report.page import check_report, write_report
    from pipeline.cli.log import log_to_stderr
    from pipeline.cli.tables import print_table, waiting

    log_to_stderr()
    bundle = load_bundle(model)
    if background is None:
        background = _trained_background(bundle.manifest)
    dataset = load_dataset(data, labels=bundle.manifest.labels, background=background)
    if report is not None:
        check_report(report)
    command = shlex.join(["vidpipe", *sys.argv[1:]])
    order = Order(split, backend, bootstrap, seed, threads, command)
    with waiting(f"evaluating {bundle.name}") as tell:
        found, material = judge(bundle, dataset, order, tell)
        if report is not None:
            tell("writing the report")
            write_report(found, material, report)
    if json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    typer.echo(found.headline)
    print_table(_table(found))
    for line in _lines(found):
        typer.echo(line)


def _trained_background(manifest: Manifest) -> str:
    """The label that unmarked time had in training, empty where it had none: to judge without it would be one-sided."""
    recipe = manifest.training.get("recipe")
    data = recipe.get("data") if isinstance(recipe, dict) else None
    return str(data.get("background") or "") if isinstance(data, dict) else ""


def _table(found: Evaluation) -> Table:
    from engines.evaluation.wording import TITLES
    from pipeline.cli.tables import new_table

    table = new_table("figure", found.model.name, *found.baselines)
    for name, figure in found.figures.items():
        others = [_text(figures[name]) if name in figures else "" for figures in found.baselines.values()]
        table.add_row(TITLES.get(name, name), _text(figure), *others)
    return table


def _text(figure: Figure) -> str:
    if figure.value is None:
        return f"none: {figure.why}"
    interval = f" ({figure.low:.3f} to {figure.high:.3f})" if figure.low is not None else ""
    return f"{figure.value:.3f}{interval}"


def _lines(found: Evaluation) -> Iterator[str]:
    from engines.evaluation.wording import agreement_text, data_text, interval_text, stream_text

    yield data_text(found)
    yield interval_text(found)
    if found.stream is not None:
        yield stream_text(found.stream)
    yield agreement_text(found.agreement)
    for label in found.labels:
        figures = f"recall {_text(label.recall)}, precision {_text(label.precision)}"
        yield f"label {label.label}: {label.clips} clips, {figures}"
    for skipped in found.data.skipped:
        yield f"skipped: {skipped.reason}"
    yield from found.notes
