"""A table on a terminal, drawn by a thread of its own: a terminal that is stopped or slow holds up nobody else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

_MOST_LINES = 1000  # that wait for the terminal
_PATIENCE_S = 2.0


class LiveTable:
    """What `render` gives, renewed in place, with lines that scroll above it. A context manager.

    Args:
        console: on a terminal.
        render: called in the drawing thread.
        every_s: how often; None for at each `renew` only.
    """

    def __init__(self, console: Console, render: Callable[[], RenderableType], every_s: float | None) -> None:
        self.lost = self._told = 0  # lines
        self._console, self._every_s = console, every_s
        self._lines: deque[RenderableType] = deque()
        self._wanted = threading.Event()
        self._closing = False
        # the streams stay as they are: what others write must not wait for this terminal
        self._live = Live(
            console=console, auto_refresh=False, get_renderable=render, redirect_stdout=False, redirect_stderr=False
        )
        self._thread = threading.Thread(target=self._draw, name="table", daemon=True)

    def say(self, line: RenderableType) -> None:
        """Print above the table, soon; never waits. Where the terminal is far behind, the line is lost."""
        if len(self._lines) < _MOST_LINES:
            self._lines.append(line)
        else:
            self.lost += 1

    def renew(self) -> None:
        """Draw soon."""
        self._wanted.set()

    def _draw(self) -> None:
        with self._live:
            while not self._closing:
                self._wanted.wait(self._every_s)
                self._wanted.clear()
                self._scroll()
                self._live.refresh()
            self._scroll()

    def _scroll(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if self.lost > self._told:
            lines.append(Text(f"{self.lost - self._told} lines were lost: the terminal was stopped", style="dim"))
            self._told = self.lost
        if lines:
            self._console.print(Group(*lines))

    def __enter__(self) -> LiveTable:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw it for the last time, if the terminal takes it within a while."""
        self._closing = True
        self._wanted.set()
        self._thread.join(_PATIENCE_S)
