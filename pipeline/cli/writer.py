"""Lines to stdout or stderr from a thread of their own, so that a reader who stops reading stops nothing else."""

from __future__ import annotations

import os
import queue
import select
import threading
from typing import Protocol

_MOST_BYTES = 16 << 20
_PATIENCE_S = 2.0


class Lines(Protocol):
    """Takes lines without ever waiting."""

    @property
    def lost(self) -> int:
        """How many were lost, since nobody read them."""
        ...

    def write(self, line: str) -> None:
        """Hand over one line."""
        ...


class _Waiting(queue.Queue["bytes | None"]):
    """Lines that wait, as many as fit into `maxsize` bytes; the end takes the room of one byte."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._bytes = 0

    def _qsize(self) -> int:
        return self._bytes

    def _put(self, item: bytes | None) -> None:
        super()._put(item)
        self._bytes += len(item or b" ")

    def _get(self) -> bytes | None:
        item = super()._get()
        self._bytes -= len(item or b" ")
        return item


class LineWriter:
    """Writes lines in order. A reader that is far behind loses lines, which are counted.

    The descriptor is written to directly: a thread that hangs inside `sys.stdout` would hang the interpreter's end.
    """

    def __init__(self, fd: int = 1, most_bytes: int = _MOST_BYTES, name: str = "stdout") -> None:
        self.lost = 0
        self._fd = fd
        self._lines = _Waiting(most_bytes)
        self._gone = threading.Event()
        self._written = 0
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Hand over one line; never waits.

        Raises:
            SystemExit: the reader has gone, as `head` does: there is nothing left to do.
        """
        if self._gone.is_set():
            raise SystemExit(0)
        try:
            self._lines.put_nowait(line.encode("utf-8", "replace") + b"\n")
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Wait for the last line for as long as the reader goes on reading."""
        while self._thread.is_alive() and not self._gone.is_set():
            before = self._written
            try:
                self._lines.put(None, timeout=_PATIENCE_S)
            except queue.Full:
                self.lost += len(self._lines.queue)
                return
            self._thread.join(_PATIENCE_S)
            if self._written == before and self._thread.is_alive():
                self.lost += len(self._lines.queue)
                return

    def _work(self) -> None:
        while (data := self._lines.get()) is not None:
            try:
                write_all(self._fd, data)
            except BrokenPipeError:
                self._gone.set()
                return
            except OSError:  # a full disk, of which more may be free for the next line
                self.lost += 1
            self._written += 1


def write_all(fd: int, data: bytes) -> None:
    """Write to a descriptor, and wait until there is room for all of it. Raises OSError."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # another program of the same terminal has set it so
            room = select.poll()
            room.register(fd, select.POLLOUT)
            room.poll()
