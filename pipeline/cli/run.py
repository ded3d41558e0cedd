"""`vidpipe run`: cameras to predictions, shown here and published for subscribers."""

from __future__ import annotations

import atexit
import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.log import LogFormat, log_to_stderr, tell
from pipeline.cli.options import ConfigOption
from pipeline.cli.writer import Lines, LineWriter

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.app import CameraOutcome, Started
    from pipeline.cli.screen import Screen
    from pipeline.config.schema import Camera, Config
    from pipeline.redaction import Secrets

_MOST_LOG_BYTES = 2 << 20


def run(
    cameras: Annotated[
        list[str] | None, typer.Argument(metavar="[CAMERA]...", help="Cameras to run; all enabled ones if none.")
    ] = None,
    config: ConfigOption = None,
    duration: Annotated[float | None, typer.Option(min=0.1, metavar="SECONDS", help="Stop after this long.")] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="auto, tensorrt, openvino, onnxruntime or torch; else what the configuration says."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print clips and events as JSON, one a line.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but the log: for services, whose subscribers listen.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow an address that other machines can reach.")
    ] = False,
    log_format: Annotated[
        LogFormat | None,
        typer.Option("--log-format", help="Of the log on stderr; else the configuration's log.format."),
    ] = None,
) -> None:
    """Run cameras: capture, encode, remember, predict, publish.

    Example: vidpipe run camera0 --duration 60
    """
    # BLAS threads would spin against the engine's own; numpy reads this when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from pipeline import app
    from pipeline.capture.confinement import hide
    from pipeline.cli.screen import LiveScreen, open_screen
    from pipeline.config.file_watch import FileWatch
    from pipeline.config.load import find_config, load_config, select_cameras

    writer = LineWriter(2, _MOST_LOG_BYTES, "stderr")
    atexit.register(writer.close)
    log_to_stderr(as_json=log_format is LogFormat.JSON, writer=writer)
    hide()
    file = find_config(config)
    watch = FileWatch(file)
    settings = load_config(file)
    as_json = (log_format or settings.log.format) == LogFormat.JSON

    lines: Lines = writer

    def log(secrets: Secrets) -> None:
        log_to_stderr(settings.log.level, secrets, as_json=as_json, narrate=json or quiet, writer=lines)

    secrets = settings.secrets
    log(secrets)
    chosen = select_cameras(settings, cameras or [])

    def load() -> tuple[Config, dict[str, Camera]]:
        nonlocal secrets
        anew = load_config(file)
        chosen_anew = select_cameras(anew, cameras or [])
        secrets = secrets.also(anew.secrets)  # what runs may go on with the old ones
        log(secrets)
        return anew, chosen_anew

    watch = watch if settings.reload_on_change else FileWatch(None)
    options = app.RunOptions(duration, backend, insecure, load, watch)
    with open_screen(json=json, quiet=quiet) as screen:
        if isinstance(screen, LiveScreen) and sys.stderr.isatty():
            lines = screen
            log(secrets)
        try:
            outcomes = app.run(
                settings, chosen, options, screen.show, lambda started: _announce(screen, settings, started, config)
            )
        finally:
            lines = writer
            log(secrets)
    failures = [f"{o.name}: {o.detail}" for o in outcomes if o.state.value == "failed"]
    failures += [f"{o.name}: gave no frame ({o.detail or o.state.value})" for o in outcomes if _mute(o)]
    for failure in failures:
        tell(failure)
    if failures:
        raise typer.Exit(1)


def _announce(screen: Screen, settings: Config, started: Started, config: Path | None) -> None:
    for model in started.models:
        screen.say(model)
    if started.endpoint is None and settings.metrics.bind is None:
        screen.say("no metrics, and nothing for vidpipe health: the usual port is taken; metrics.bind names another")
    where = " --keys FILE" if started.keys else f" --config {shlex.quote(str(config))}" if config else ""
    screen.say(f"publishing on {started.address}; see it with: vidpipe watch{where}   stop with Ctrl-C")


def _mute(outcome: CameraOutcome) -> bool:
    """A camera that never came; where the run was asked to end, it may still have come."""
    return not outcome.processed and not outcome.asked and outcome.state.value != "failed"
