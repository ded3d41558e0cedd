"""The terminal that tables are drawn on. It may be closed meanwhile."""

from __future__ import annotations

import os
import signal
import sys
from typing import IO, cast

from rich.console import Console


class _Terminal:
    """What `sys.stdout` is now. Where nobody is there any more, the process is asked to end, and gets no error."""

    def __init__(self) -> None:
        self._out = sys.stdout  # a live table puts something else in its place
        self.encoding = self._out.encoding
        self._gone = False

    def write(self, text: str) -> int:
        """Write, or do nothing where nobody sees it."""
        if not self._gone:
            try:
                return self._out.write(text)
            except OSError:
                self._leave()
        return len(text)

    def flush(self) -> None:
        """Show what was written."""
        if not self._gone:
            try:
                self._out.flush()
            except OSError:
                self._leave()

    def _leave(self) -> None:
        self._gone = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._out.fileno())  # what is still in the buffer goes there at the end
        os.close(nowhere)
        if callable(signal.getsignal(signal.SIGTERM)):  # else it ends already
            os.kill(os.getpid(), signal.SIGTERM)

    def isatty(self) -> bool:
        """Whether it is a terminal at all."""
        return self._out.isatty()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._out.fileno()


def open_console() -> Console:
    """A console on stdout that ends the process, as SIGTERM does, when its terminal is closed."""
    return Console(file=cast("IO[str]", _Terminal()), highlight=False)
