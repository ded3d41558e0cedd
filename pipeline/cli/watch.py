"""`vidpipe watch`: a subscriber for people and scripts."""

from __future__ import annotations

import signal
import sys
import time
from functools import partial
from typing import Annotated

import typer

from pipeline.cli.options import AddressOption, ConfigOption, KeysOption


def watch(
    cameras: Annotated[
        list[str] | None, typer.Argument(metavar="[CAMERA]...", help="Cameras to watch; all if none.")
    ] = None,
    config: ConfigOption = None,
    address: AddressOption = None,
    keys: KeysOption = None,
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
    from pipeline.cli.screen import LiveScreen, open_screen
    from pipeline.cli.target import target_of
    from pipeline.stream.continuity import Gap
    from pipeline.stream.messages import KINDS, Prediction
    from pipeline.stream.subscriber import Subscriber

    # a table on the terminal is put away whatever ends us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    target = target_of(address, keys, config, cameras or [])

    def report(gap: Gap) -> None:
        # a line on stderr would damage a table
        tell = screen.write if isinstance(screen, LiveScreen) else partial(typer.echo, err=True)
        if gap.count:
            tell(f"vidpipe: {gap.camera}: {gap.count} {gap.kind} message(s) were lost: {gap.reason}")
        if gap.open_end:
            tell(f"vidpipe: {gap.camera}: more {gap.kind} messages may have been lost: {gap.reason}")

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
