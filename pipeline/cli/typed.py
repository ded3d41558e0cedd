"""Lines that a user types while a command runs, read beside it until their end."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def typed_lines(take: Callable[[str], None]) -> Iterator[None]:
    """Hand each line of standard input to `take`, in a thread of its own, until the input or the block ends."""
    # a command in the background that reads its terminal would be stopped; so it reads an error instead
    before = signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    ended, end = os.pipe()
    thread = threading.Thread(target=_read, args=(take, _standard_input(), ended), name="typed-lines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(end)
        thread.join()
        os.close(ended)
        signal.signal(signal.SIGTTIN, before)


def _standard_input() -> int:
    """Its descriptor; -1 where there is none, since another file may have taken its number."""
    try:
        return sys.stdin.fileno() if sys.stdin is not None else -1
    except (OSError, ValueError):
        return -1


def _read(take: Callable[[str], None], source: int, ended: int) -> None:
    waiting = b""
    try:
        while ended not in select.select([source, ended], [], [])[0] and (data := os.read(source, 4096)):
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                if line.strip():
                    take(line.decode("utf-8", "replace"))
    except (OSError, ValueError):  # there is no standard input, or it is not ours
        return
