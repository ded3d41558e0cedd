"""Ctrl-C while a library is loaded."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C for the end of the block.

    An extension in C++ that is interrupted while it loads reports an ImportError like any other (seen in OpenVINO
    2026.4): the back end would count as missing, the next one be taken, and nobody stop.
    """
    held: list[int] = []
    # only the main thread is interrupted, and may say what that means
    in_main = threading.current_thread() is threading.main_thread()
    usual = signal.getsignal(signal.SIGINT) if in_main else None
    if not callable(usual):
        yield
        return
    signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if held:
            usual(signal.SIGINT, None)
