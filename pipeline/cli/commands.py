"""All commands of `vidpipe`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from pipeline.cli.bench import bench
from pipeline.cli.build import build
from pipeline.cli.check import check
from pipeline.cli.doctor import doctor
from pipeline.cli.evaluate import evaluate
from pipeline.cli.explain import explain
from pipeline.cli.export import export
from pipeline.cli.fakecam import fakecam
from pipeline.cli.health import health
from pipeline.cli.init import init
from pipeline.cli.keys import keys
from pipeline.cli.models import models
from pipeline.cli.reload import reload, reset
from pipeline.cli.run import run
from pipeline.cli.sweep import sweep
from pipeline.cli.top import top
from pipeline.cli.train import train
from pipeline.cli.verify import verify
from pipeline.cli.watch import watch

app = typer.Typer(
    help="Real-time video analytics with memory: cameras in, predictions of a recurrent network out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"vidpipe {version('vidpipe')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Real-time video analytics with memory: cameras in, predictions of a recurrent network out."""


for _command in (
    run,
    watch,
    top,
    health,
    check,
    reload,
    reset,
    init,
    models,
    build,
    verify,
    doctor,
    fakecam,
    bench,
    train,
    evaluate,
    sweep,
    explain,
    export,
):
    app.command()(_command)
app.add_typer(keys, name="keys")
