"""The terminal that tables are drawn on. It may be closed meanwhile."""

from __future__ import annotations

import os
import signal
import sys
from typing import IO, cast

from rich.console import Console

from pipeline.cli.writer import write_all


class Terminal:
    """A file on a descriptor. Where nobody is there any more, the process is asked to end, and gets no error.

    What is flushed goes to the descriptor directly: a thread that hangs inside `sys.stdout`, as before a terminal that
    is stopped, would hang the interpreter's end.
    """

    def __init__(self, fd: int, encoding: str) -> None:
        self.encoding = encoding
        self._fd = fd
        self._is_terminal = os.isatty(fd)
        self._text: list[str] = []

    def write(self, text: str) -> int:
        """Keep the text until the next flush."""
        self._text.append(text)
        return len(text)

    def flush(self) -> None:
        """Show what was written; waits for a terminal that is stopped."""
        data = "".join(self._text).encode(self.encoding, "replace")
        self._text.clear()
        try:
            write_all(self._fd, data)
        except OSError:
            self._leave()

    def _leave(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._fd)  # whatever else is written there goes nowhere as well
        os.close(nowhere)
        if callable(signal.getsignal(signal.SIGTERM)):  # else it ends already
            os.kill(os.getpid(), signal.SIGTERM)

    def isatty(self) -> bool:
        """Whether it is a terminal at all, or was before it was closed."""
        return self._is_terminal

    def fileno(self) -> int:
        """Its descriptor."""
        return self._fd


def open_console() -> Console:
    """A console on stdout that ends the process, as SIGTERM does, when its terminal is closed."""
    sys.stdout.flush()
    file = cast("IO[str]", Terminal(sys.stdout.fileno(), sys.stdout.encoding))
    return Console(file=file, highlight=False, markup=False, emoji=False)


def can_redraw(console: Console) -> bool:
    """Whether a table can be renewed in place: on a terminal that moves its cursor."""
    return console.is_terminal and not console.is_dumb_terminal
