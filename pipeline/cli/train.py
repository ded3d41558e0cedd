"""`vidpipe train`: from a recipe to a bundle; a run that was stopped goes on where it stood."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from engines.training.clips.judging import Judgement
    from engines.training.recipe import Recipe


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML recipe, such as configs/clips.yaml.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder with a folder per label, or CSV manifest. Default: as the recipe says.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints and the bundle. Default: runs/ and the recipe's name.")
    ] = None,
    cross_validate: Annotated[
        bool, typer.Option("--cross-validate", help="Only train and judge the recipe's folds; write no bundle.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again, forgetting what the folder holds.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads for training. Default: one per CPU.")] = None,
    json: Annotated[bool, typer.Option("--json", help="With --cross-validate: print the figures as JSON.")] = False,
) -> None:
    """Train a model and write its bundle; given again after a stop, the same command goes on where it stood.

    Example: vidpipe train configs/clips.yaml --data my_clips --out runs/my_clips
    """
    from rich.console import Console

    from engines.errors import ConfigError, MissingExtraError
    from engines.training.recipe import Recipe, load_recipe

    settings = load_recipe(recipe)
    folder = out or Path("runs") / settings.name
    console = Console(stderr=json, markup=False)
    try:
        if isinstance(settings, Recipe):
            path = data or settings.data_path(recipe)
            judgement = _clips(settings, path, folder, console, (fresh, cross_validate), threads)
            if judgement is not None:
                _print(judgement, json)
                return
            bundle = folder / settings.name
        elif data is not None or cross_validate:
            raise ConfigError(
                f"the recipe {recipe} makes its own scenes: --data and --cross-validate do not go with it"
            )
        else:
            from engines.training.scene.run import Training

            bundle = Training(settings, folder, console, fresh=fresh, threads=threads).run()
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "sklearn"):
            raise
        package = "scikit-learn" if error.name == "sklearn" else "torch"
        raise MissingExtraError("vidpipe train", package, "train") from error
    typer.echo(f"the bundle is in {bundle}; use it with `model: {bundle}` in the configuration", err=json)


def _clips(
    recipe: Recipe, path: Path, folder: Path, console: Console, how: tuple[bool, bool], threads: int | None
) -> Judgement | None:
    """Train on labelled video; the figures of the folds if only those were asked for."""
    from engines.datasets.reading import load_dataset
    from engines.training.clips.run import ClipTraining

    fresh, only_folds = how
    dataset = load_dataset(path, labels=recipe.labels, background=recipe.data.background)
    training = ClipTraining(recipe, dataset, folder, console, fresh=fresh, threads=threads)
    if only_folds:
        return training.cross_validate()
    training.run()
    return None


def _print(judgement: Judgement, json: bool) -> None:
    from engines.training.clips.judging import SHOWN, shown

    if json:
        import msgspec

        typer.echo(msgspec.json.encode({**vars(judgement), "warning": judgement.warning}).decode())
        return
    from pipeline.cli.tables import new_table, print_table

    typer.echo(judgement.comparison.sentence)
    typer.echo(f"{judgement.clips} clips, {judgement.where}; in brackets the middle 95 % of draws of whole groups")
    table = new_table("figure", "this model", *judgement.baselines)
    for key, title in SHOWN.items():
        figures = [judgement.figures, *judgement.baselines.values()]
        table.add_row(title, *(shown(each[key]) for each in figures))
    print_table(table)
