"""What signals mean to a running vidpipe: SIGINT and SIGTERM a stop, SIGHUP a reload."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(wake: Callable[[], None], reload: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """A function that tells whether a stop was asked for; a second signal to stop ends the process at once.

    SIGHUP calls `reload`, but asks for a stop where it means that the terminal was closed.
    """
    received: list[int] = []
    in_terminal = _has_terminal()

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        wake()
        signal.signal(number, signal.SIG_DFL)

    def hang_up(number: int, frame: object) -> None:
        if in_terminal and not _has_terminal():
            stop(number, frame)
        else:
            reload()

    handlers: dict[int, Callable[[int, object], None]] = {
        signal.SIGINT: stop,
        signal.SIGTERM: stop,
        signal.SIGHUP: hang_up,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield lambda: bool(received)
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def hang_ups_kept() -> Iterator[list[int]]:
    """SIGHUP ends no vidpipe that is still starting: the list has what came, for a reload once there is something to.

    With a terminal it goes on to mean that the terminal was closed.
    """
    kept: list[int] = []
    if _has_terminal():
        yield kept
        return
    before = signal.signal(signal.SIGHUP, lambda number, _frame: kept.append(number))
    try:
        yield kept
    finally:
        signal.signal(signal.SIGHUP, before)


def _has_terminal() -> bool:
    """Whether this process belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
