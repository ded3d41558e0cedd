"""`vidpipe train`: from a recipe to a bundle; a run that was stopped goes on where it stood."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML recipe, such as configs/scene.yaml.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints and the bundle. Default: runs/ and the recipe's name.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again, forgetting what the folder holds.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads for training. Default: one per CPU.")] = None,
) -> None:
    """Train a model and write its bundle; given again after a stop, the same command goes on where it stood.

    Example: vidpipe train configs/scene.yaml --out runs/scene
    """
    from rich.console import Console

    from engines.errors import MissingExtraError
    from engines.training.scene.recipe import load_recipe

    settings = load_recipe(recipe)
    try:
        from engines.training.scene.run import Training
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("vidpipe train", "torch", "train") from error
    folder = out or Path("runs") / settings.name
    bundle = Training(settings, folder, Console(), fresh=fresh, threads=threads).run()
    typer.echo(f"the bundle is in {bundle}; use it with `model: {bundle}` in the configuration")
