"""The command `vidpipe`: all commands, and what becomes of a user's errors."""

from __future__ import annotations

import resource
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from engines.errors import VidpipeError
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
from pipeline.cli.log import tell
from pipeline.cli.models import models
from pipeline.cli.reload import reload, reset
from pipeline.cli.run import run
from pipeline.cli.sweep import sweep
from pipeline.cli.top import top
from pipeline.cli.train import train
from pipeline.cli.verify import verify
from pipeline.cli.watch import watch

_MOST_OPEN_FILES = 65536

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


def _open_many_files() -> None:
    """The soft limit is 1024 for the sake of select(2), which nothing here uses; connections of strangers fill it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    """Run the command line; a user's error becomes one line on stderr and exit status 1."""
    # a core dump holds the cameras' passwords
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _open_many_files()
    try:
        app()
    except VidpipeError as error:
        tell(str(error))
        sys.exit(1)
    except BrokenPipeError:
        # the reader of our output left, as `head` does
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
