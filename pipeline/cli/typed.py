"""Lines that a user types while a command runs, read beside it until their end."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STDIN = 0


@contextmanager
def typed_lines(take: Callable[[str], None]) -> Iterator[None]:
    """Hand each line of standard input to `take`, in a thread of its own, until the input or the block ends."""
    # a command in the background that reads its terminal would be stopped; so it reads an error instead
    before = signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    ended, end = os.pipe()
    thread = threading.Thread(target=_read, args=(take, ended), name="typed-lines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(end)
        thread.join()
        os.close(ended)
        signal.signal(signal.SIGTTIN, before)


def _read(take: Callable[[str], None], ended: int) -> None:
    waiting = b""
    try:
        while ended not in select.select([_STDIN, ended], [], [])[0] and (data := os.read(_STDIN, 4096)):
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                if line.strip():
                    take(line.decode("utf-8", "replace"))
    except (OSError, ValueError):  # there is no standard input, or it is not ours
        return
