"""`vidpipe health`: is a vidpipe alive and ready, as an exit status for container checks and scripts."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import ConfigOption


def health(
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where its metrics are; else the configuration's metrics.bind."),
    ] = None,
    config: ConfigOption = None,
    alive: Annotated[bool, typer.Option("--alive", help="Ask only whether it lives: models may still load.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long to wait.")] = 3.0,
) -> None:
    """Ask a running vidpipe on this machine whether it is ready. Exits with 1 where it is not, or does not answer.

    Cameras that are down do not matter here.

    Example: vidpipe health --address 127.0.0.1:9108
    """
    import http.client

    from engines.errors import StreamError
    from pipeline.config.load import load_config
    from pipeline.operations.endpoint import DEFAULT_BIND, reachable_at

    bind = address or load_config(config, opens_cameras=False).metrics.bind or DEFAULT_BIND
    if bind == "off":
        raise StreamError("metrics.bind is off: a vidpipe without an endpoint cannot be asked for its health")
    host, port = reachable_at(bind)
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", "/healthz" if alive else "/readyz")
        answer = connection.getresponse()
        text = answer.read(200).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise StreamError(
            f"no vidpipe answers at {bind} ({why}): is vidpipe run running, with metrics.bind there?"
        ) from error
    finally:
        connection.close()
    typer.echo(text)
    if answer.status != http.HTTPStatus.OK:
        raise typer.Exit(1)
