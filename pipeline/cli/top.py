"""`vidpipe top`: how each camera of a running vidpipe stands, as a live table."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AddressOption, ConfigOption, KeysOption

if TYPE_CHECKING:
    from pipeline.operations.overview import Overview
    from pipeline.stream.subscriber import Subscriber

_EVERY_S, _EVERY_ELSEWHERE_S = 1.0, 5.0


def top(
    cameras: Annotated[
        list[str] | None, typer.Argument(metavar="[CAMERA]...", help="Cameras to show; all if none.")
    ] = None,
    config: ConfigOption = None,
    address: AddressOption = None,
    keys: KeysOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print figures as JSON, one object a line.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Show the figures once, and leave.")] = False,
    every: Annotated[
        float | None, typer.Option(min=0.2, metavar="SECONDS", help="How often; 1 on a terminal, else 5.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="With --once: how long to wait for every camera.")
    ] = 10.0,
) -> None:
    """Show each camera's state, rate, age, latency, drops, resets and reconnects. Exits with 1 when nothing is heard.

    Example: vidpipe top --once
    """
    from engines.errors import StreamError
    from pipeline.cli.target import target_of
    from pipeline.cli.top_view import open_view
    from pipeline.operations.overview import Overview
    from pipeline.stream.subscriber import Subscriber

    # a table on the terminal is put away whatever ends us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    target = target_of(address, keys, config, cameras or [])
    overview = Overview()
    # what is lost on the way is old news here: nothing is asked for again
    with Subscriber(target, cameras or None, kinds=("clip", "status"), keys=keys, repair=False) as subscriber:
        if once:
            _listen(subscriber, overview, timeout, lambda: _is_complete(overview, cameras or []))
        with open_view(target, json=json, live=not once) as view:
            if once:
                view.show(overview, subscriber.missed)
            interval_s = every or (_EVERY_S if view.live else _EVERY_ELSEWHERE_S)
            while not once:
                _listen(subscriber, overview, interval_s, lambda: False)
                view.show(overview, subscriber.missed)
    if not overview.heard:
        hint = "" if keys else ", and does it let you in (--keys)"
        raise StreamError(f"nothing came from {target} within {timeout:g} s: is vidpipe run running there{hint}?")


def _listen(subscriber: Subscriber, overview: Overview, seconds: float, enough: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + seconds
    while (left_s := deadline_s - time.monotonic()) > 0 and not enough():
        if (message := subscriber.receive(left_s)) is not None:
            overview.observe(message)


def _is_complete(overview: Overview, wanted: list[str]) -> bool:
    return overview.settled and overview.heard >= set(wanted)
