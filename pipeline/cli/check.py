"""`vidpipe check`: is the configuration right, and is every camera there?"""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import ConfigOption


def check(
    cameras: Annotated[
        list[str] | None, typer.Argument(metavar="[CAMERA]...", help="Cameras to try; all enabled ones if none.")
    ] = None,
    config: ConfigOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON, one a line.")] = False,
) -> None:
    """Check the configuration and its models, then try each camera and say what was found, or why not.

    Example: vidpipe check camera0
    """
    import msgspec

    from pipeline.capture.confinement import hide
    from pipeline.config.load import find_config, load_config, select_cameras
    from pipeline.trial import try_cameras

    hide()
    settings = load_config(config)
    chosen = select_cameras(settings, cameras or [])
    valid = f"{find_config(config)} is valid; trying {len(chosen)} camera{'' if len(chosen) == 1 else 's'}"
    results = try_cameras(chosen, lambda: None if json else typer.echo(valid))
    for result in results:
        text = msgspec.json.encode(result).decode() if json else f"{result.camera}: {result.finding}"
        typer.echo(text, err=not json and not result.ok)
    if not all(result.ok for result in results):
        raise typer.Exit(1)
