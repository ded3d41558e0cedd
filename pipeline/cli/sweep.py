"""`vidpipe sweep`: picture size x clip length x family, accuracy against milliseconds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from engines.evaluation.resampling import Figure
    from engines.evaluation.sweep.record import Sweep


def sweep(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML recipe for labelled video.")],
    sizes: Annotated[str, typer.Option(help="Pixels of the square pictures, with commas.")] = "128,160,224",
    lengths: Annotated[str, typer.Option(help="Frames of each clip that are seen, with commas.")] = "8,16,32",
    families: Annotated[str, typer.Option(help="With commas. Default: the recipe's.")] = "",
    data: Annotated[
        Path | None, typer.Option(help="Class folders or CSV manifest. Default: as the recipe says.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results. Default: runs/ and the name-sweep.")] = None,
    backend: Annotated[str, typer.Option(help="Where frames are timed: auto, openvino, onnxruntime ...")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads. Default: one per CPU.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Train each combination and hold accuracy against milliseconds per frame: one table and one plot.

    Given again after a stop, finished combinations are not trained again; times are always taken anew, in turns.

    Example: vidpipe sweep configs/clips.yaml --sizes 128,224 --lengths 8,16 --families gru,tcn --out runs/sweep
    """
    # BLAS threads would spin against the engine's own; numpy reads this when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from rich.console import Console

    from engines.errors import ConfigError, MissingExtraError
    from pipeline.cli.log import log_to_stderr

    try:
        from engines.datasets.reading import load_dataset
        from engines.evaluation.sweep.grid import choices
        from engines.evaluation.sweep.plot import draw
        from engines.evaluation.sweep.run import SweepRun, prepare_folder
        from engines.training.recipe import Recipe, load_recipe
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("vidpipe sweep", "torch", "train") from error
    log_to_stderr()
    settings = load_recipe(recipe)
    if not isinstance(settings, Recipe):
        raise ConfigError(f"the recipe {recipe} makes its own scenes: a sweep takes a recipe for labelled video")
    wanted = choices(_numbers(sizes, "--sizes"), _numbers(lengths, "--lengths"), _names(families or settings.family))
    dataset = load_dataset(
        data or settings.data_path(recipe), labels=settings.labels, background=settings.data.background
    )
    folder = out or Path("runs") / f"{settings.name}-sweep"
    prepare_folder(folder)
    found = SweepRun(settings, dataset, folder, Console(stderr=True, markup=False), threads=threads).run(
        wanted, backend
    )
    draw(found, folder / "sweep.png")
    _print(found, folder, json)


def _print(found: Sweep, folder: Path, json: bool) -> None:
    import msgspec

    from pipeline.cli.tables import print_table

    encoded = msgspec.json.encode(found)
    (folder / "sweep.json").write_bytes(encoded)
    if json:
        typer.echo(encoded.decode())
        return
    print_table(_table(found))
    typer.echo(f"judged by {found.judged}; * no other is both quicker and better; timed on {found.backend}")
    for row in {(row.family, row.left_out): row for row in found.rows if row.left_out}.values():
        typer.echo(f"{row.family} has no {', '.join(row.left_out)}: left out")
    typer.echo(f"the plot is in {folder / 'sweep.png'}")


def _table(found: Sweep) -> Table:
    from engines.evaluation.sweep.plot import front
    from pipeline.cli.tables import new_table

    ranked = "AUC" if len(found.labels) == 2 else "macro mAP"
    best = front(found)
    table = new_table(
        "family", "size", "frames", "accuracy", ranked, "best baseline", "encoder ms", "step ms", "ms", ""
    )
    for row in found.rows:
        timing = found.timing(row)
        table.add_row(
            row.family,
            str(row.size),
            str(row.frames),
            _text(row.accuracy),
            _text(row.ranked),
            _text(row.baseline_accuracy),
            f"{timing.encoder_ms:.2f}",
            f"{timing.step_ms:.2f}",
            f"{timing.total_ms:.2f}",
            "*" if row in best else "",
        )
    return table


def _text(figure: Figure) -> str:
    if figure.value is None:
        return f"none: {figure.why}" if figure.why else "none"
    return f"{figure.value:.3f}" + (f" ({figure.low:.3f} to {figure.high:.3f})" if figure.low is not None else "")


def _numbers(text: str, option: str) -> list[int]:
    from engines.errors import ConfigError

    parts = _names(text)
    if not parts or not all(part.isdecimal() and 1 <= int(part) <= 4096 for part in parts):
        raise ConfigError(f"{option} is {text!r}; it must be whole numbers from 1 to 4096 with commas, such as 128,224")
    return [int(part) for part in dict.fromkeys(parts)]


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
