"""What `vidpipe fakecam` takes besides pictures: faults that are ordered at the start or typed while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import typer

from pipeline.cli.typed import typed_lines

if TYPE_CHECKING:
    from pipeline.fakecam.console import Site
    from pipeline.fakecam.fault_text import Order


def read_orders(
    texts: list[str], kinds: Mapping[str, type[Any]], cameras: Collection[str], scope: tuple[str, Collection[str]]
) -> list[Order[Any]]:
    """The faults of `--fault`. Raises ConfigError."""
    from pipeline.fakecam.fault_text import parse_order

    return [parse_order(text, kinds, cameras, scope=scope) for text in texts]


def take_faults(site: Site, orders: list[Order[Any]], json: bool, wait: Callable[[], object]) -> None:
    """Inject what was ordered, then what is typed, until `wait` returns."""
    from pipeline.fakecam.console import Console

    console = Console(site)
    for order in orders:
        console.inject(order)

    def take(line: str) -> None:
        reply = console.answer(line)
        say(reply, reply.text if reply.ok else f"vidpipe: {reply.text}", json)

    with typed_lines(take):
        wait()


def say(facts: object, text: str, json: bool) -> None:
    """Print one line or more, at once: for people, or as JSON."""
    import msgspec

    typer.echo(msgspec.json.encode(facts).decode() if json else text)
    sys.stdout.flush()
