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
    from pipeline.operations.endpoint import DEFAULT_BIND, INSTANCE_HEADER, SERVER, reachable_at
    from pipeline.operations.instance import instance_of

    settings = load_config(config, opens_cameras=False) if config is not None or address is None else None
    bind = address or (settings.metrics.bind if settings else None) or DEFAULT_BIND
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
    if not answer.getheader("Server", "").startswith(SERVER):
        raise StreamError(f"what answers at {bind} is no vidpipe: set metrics.bind to a free port")
    theirs, ours = answer.getheader(INSTANCE_HEADER, ""), instance_of(settings) if settings else ""
    if theirs and ours and theirs != ours:
        raise StreamError(
            f"another vidpipe answers at {bind}: publish.bind or state.folder of this configuration are not those that "
            "it was started with. Give each vidpipe a metrics.bind of its own, or restart it"
        )
    typer.echo(text)
    if answer.status != http.HTTPStatus.OK:
        raise typer.Exit(1)
