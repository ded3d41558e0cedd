"""Tables and waiting lines of the command line: coloured on a terminal, plain and never cut elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 400  # columns where the output is no terminal: a program or a file wraps nothing


def new_table(*columns: str) -> Table:
    """An empty table with these headings."""
    return Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")


def print_table(table: Table) -> None:
    """Print to stdout."""
    console = Console(highlight=False, markup=False)  # an extra in brackets is no style
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_WIDE)
    console.print(table)


@contextmanager
def waiting(title: str) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what is being done; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda _: None
        return
    with console.status(Text(title)) as status:
        yield lambda step: status.update(Text(f"{title}: {step}"))
