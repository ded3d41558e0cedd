"""How far a training is: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_EVERY_S = 20.0


class Reporter(Protocol):
    """Takes the news of one stage."""

    def advance(self, steps: int, note: str) -> None:
        """`steps` more are done; `note` says how well it goes."""


@contextmanager
def reporter(console: Console, title: str, total: int) -> Iterator[Reporter]:
    """The news of one stage of `total` steps, for as long as the block runs."""
    if not console.is_terminal:
        plain = _Lines(console, title, total)
        yield plain
        plain.close()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    left = (TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, *left, console=console) as bar:
        yield _Bar(bar, title, total)


class _Bar:
    def __init__(self, bar: Progress, title: str, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=total, note="")

    def advance(self, steps: int, note: str) -> None:
        self._bar.update(self._task, advance=steps, note=note)


class _Lines:
    def __init__(self, console: Console, title: str, total: int) -> None:
        self._console, self._title, self._total = console, title, total
        self._done, self._started, self._said, self._note = 0, time.monotonic(), time.monotonic(), ""

    def advance(self, steps: int, note: str) -> None:
        self._done, self._note = self._done + steps, note
        if time.monotonic() - self._said >= PLAIN_EVERY_S and self._done < self._total:
            self._say()

    def close(self) -> None:
        self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        spent = self._said - self._started
        left = spent / self._done * (self._total - self._done) if self._done else float("nan")
        done = f"{self._title}: {self._done}/{self._total}, {spent:.0f} s, {left:.0f} s left"
        self._console.print(
            f"{done}, {self._note}" if self._note else done, highlight=False, markup=False, soft_wrap=True
        )
