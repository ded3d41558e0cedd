"""Real terminals for what draws on them: pseudo-terminals, read, stopped or closed."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager


class Terminal:
    """A pseudo-terminal; `fd` is the program's end."""

    def __init__(self, columns: int) -> None:
        self._ours, self.fd = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def stop(self) -> None:
        """What Ctrl-S does: whoever writes waits."""
        termios.tcflow(self.fd, termios.TCOOFF)

    def go_on(self) -> None:
        """What Ctrl-Q does."""
        termios.tcflow(self.fd, termios.TCOON)

    def read_until(self, text: str) -> str:
        """What was shown up to a text."""
        shown = b""
        while text.encode() not in shown:
            shown += os.read(self._ours, 65536)
        return shown.decode()

    def read_on(self) -> str:
        """What is shown, up to the program's end; closes its end here."""
        os.close(self.fd)
        self.fd = -1
        shown = b""
        try:
            while data := os.read(self._ours, 65536):
                shown += data
        except OSError:  # EIO: nobody has the other end any more
            pass
        return shown.decode()

    def hang_up(self) -> None:
        """What closing the window does."""
        os.close(self._ours)
        self._ours = -1

    def close(self) -> None:
        """Close both ends."""
        for fd in (self._ours, self.fd):
            if fd >= 0:
                os.close(fd)
        self._ours = self.fd = -1


@contextmanager
def terminal(columns: int = 120) -> Iterator[Terminal]:
    """A terminal of so many columns."""
    found = Terminal(columns)
    try:
        yield found
    finally:
        found.close()
