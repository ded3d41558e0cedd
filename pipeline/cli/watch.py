"""`vidpipe watch`: a subscriber for people and scripts."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.run import CONFIG_HELP


def watch(
    cameras: Annotated[
        list[str] | None, typer.Argument(metavar="[CAMERA]...", help="Cameras to watch; all if none.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help=CONFIG_HELP)] = None,
    address: Annotated[
        str | None, typer.Option(help="The publisher's address; else the configuration's publish.bind.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key file that vidpipe keys new wrote for this client.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every message as JSON, one a line.")] = False,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after N clip predictions.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Stop when no clip came for this long.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair/--no-repair", help="Ask again for messages that were lost on the way.")
    ] = True,
) -> None:
    """Show what a running vidpipe publishes. Exits with 1 when no clip came.

    Example: vidpipe watch camera0 --json --count 5 --timeout 30
    """
    from engines.errors import StreamError
    from pipeline.cli.screen import open_screen
    from pipeline.stream.continuity import Gap
    from pipeline.stream.messages import KINDS, Prediction
    from pipeline.stream.subscriber import Subscriber

    # a table on the terminal is put away whatever ends us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    target = address or (address_in(keys) if keys else "") or target_of(config, cameras or [])

    def report(gap: Gap) -> None:
        if gap.count:
            typer.echo(f"vidpipe: {gap.camera}: {gap.count} {gap.kind} message(s) were lost: {gap.reason}", err=True)
        if gap.open_end:
            typer.echo(f"vidpipe: {gap.camera}: more {gap.kind} messages may have been lost: {gap.reason}", err=True)

    clips = 0
    heard_s = time.monotonic()
    with (
        Subscriber(
            target, cameras or None, kinds=list(KINDS.values()), on_gap=report, keys=keys, repair=repair
        ) as subscriber,
        open_screen(json=json, status_as_json=True) as screen,
    ):
        screen.say(f"listening at {target}; stop with Ctrl-C")
        while count is None or clips < count:
            left_s = None if timeout is None else heard_s + timeout - time.monotonic()
            message = subscriber.receive(left_s) if left_s is None or left_s > 0 else None
            if message is None:
                break
            screen.show(message)
            if isinstance(message, Prediction):
                clips, heard_s = clips + 1, time.monotonic()
    if not clips:
        hint = "is vidpipe run running there, and does it let you in (--keys)?"
        raise StreamError(f"no clip came from {target} within {timeout:g} s: {hint}")


def address_in(keys: Path) -> str:
    """The publisher's address in a key file; empty where it has none."""
    from pipeline.keys.client import ClientKeys

    return ClientKeys.load(keys).address


def target_of(file: Path | None, cameras: list[str]) -> str:
    """Where to listen to what a configuration publishes; the cameras must be in it.

    Raises:
        ConfigError: it is not valid, has no such camera, or leaves the port to the system.
    """
    from engines.errors import ConfigError
    from pipeline.config.load import load_config, select_cameras

    config = load_config(file, opens_cameras=False)
    select_cameras(config, cameras or list(config.cameras))
    scheme, _, place = config.publish.bind.partition("://")
    host, colon, port = place.rpartition(":")
    if port == "*":
        raise ConfigError(
            f"publish.bind is {config.publish.bind}: the system chose the port, so name it with --address"
        )
    return f"{scheme}://127.0.0.1:{port}" if colon and host in ("*", "0.0.0.0", "[::]") else config.publish.bind  # noqa: S104
