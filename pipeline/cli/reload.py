"""`vidpipe reload` and `vidpipe reset`: orders to a vidpipe that runs."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import ConfigOption


def reload(config: ConfigOption = None) -> None:
    """Have a running vidpipe take over its configuration file as it is now.

    The file is checked whole: where something is wrong, nothing changes. Cameras that did not change lose no frame.

    Example: vidpipe reload --config vidpipe.yaml
    """
    from pipeline.config.load import load_config
    from pipeline.control.client import order
    from pipeline.control.protocol import Request

    typer.echo(order(load_config(config, opens_cameras=False), Request("reload")))


def reset(
    cameras: Annotated[
        list[str] | None, typer.Argument(metavar="[CAMERA]...", help="Cameras that shall forget; all if none.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Have cameras of a running vidpipe begin with an empty memory (or what their continuity.operator says).

    Example: vidpipe reset camera0
    """
    from pipeline.config.load import load_config
    from pipeline.control.client import order
    from pipeline.control.protocol import Request

    typer.echo(order(load_config(config, opens_cameras=False), Request("reset", tuple(cameras or ()))))
