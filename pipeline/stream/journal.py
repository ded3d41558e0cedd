"""The journal: a thread that keeps what is published and replays it, so that the hot path only hands messages over."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from pipeline.stream.archive import Archive, Limits
from pipeline.stream.journal_file import Row
from pipeline.stream.replay import ReplayDesk
from pipeline.stream.replay_server import ReplayServer

if TYPE_CHECKING:
    from types import TracebackType

_log = logging.getLogger(__name__)

_QUEUE_BYTES = 32 << 20
_WRITTEN_AT_ONCE_BYTES = 4 << 20
_REQUESTS_AT_ONCE = 16
_TURN_MS = 1000
_CLOSE_S = 5.0
_TOLD_S = 60.0


class Journal:
    """Keeps messages in `path` and serves them through `server`, which is to be closed after it.

    `record` is called from one thread and never waits; all the rest happens in the journal's own.
    """

    def __init__(
        self, path: Path, epoch: int, limits: Limits | None = None, *, server: ReplayServer | None = None
    ) -> None:
        self._queue: deque[Row] = deque()
        self._put_bytes = 0
        self._taken_bytes = 0
        self._refused = 0
        self._refused_seen = 0
        self._behind_s = -math.inf
        self._server = server
        self._woken = False
        self._stopping = False
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._archive = Archive(path, epoch, limits or Limits())
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def alarm(self) -> str:
        """What is wrong with the journal, in one sentence; empty where nothing is."""
        if not self._stopping and not self._thread.is_alive():
            return "the journal has stopped: what subscribers miss cannot be replayed, until vidpipe is started again"
        if not self._archive.alarm and time.monotonic() < self._behind_s + _TOLD_S:
            return (
                f"the journal cannot keep up with what is published: {self._refused} messages were not kept; "
                "give its folder a faster disk"
            )
        return self._archive.alarm

    @property
    def backlog(self) -> int:
        """How many messages are not written yet."""
        return len(self._queue) + self._archive.unwritten

    @property
    def lost(self) -> int:
        """How many messages could not be kept at all, because neither disk nor memory took them."""
        return self._refused + self._archive.lost

    def record(  # noqa: PLR0917 - the fields of a message, from the publisher's hot path
        self, camera: str, kind: str, epoch: int, seq: int, published_at_ns: int, body: bytes
    ) -> None:
        """Keep a message. Where the journal is far behind (32 MiB) or closed, it is dropped and counted in `lost`."""
        if self._put_bytes - self._taken_bytes > _QUEUE_BYTES or self._stopping:
            self._refused += 1
            self._behind_s = time.monotonic()
            return
        self._queue.append(Row(camera, kind, epoch, seq, published_at_ns, body))
        self._put_bytes += len(body)
        self._wake()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            os.write(self._wake_in, b"\0")

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._wake_out, zmq.POLLIN)
        desk = None
        if self._server is not None:
            poller.register(self._server.socket, zmq.POLLIN)
            desk = ReplayDesk(self._archive, self._server.allowed)
        while not self._stopping:
            poller.poll(_TURN_MS)
            self._take()
            if self._server is not None and desk is not None:
                # what a client has heard of must be in the archive before it is answered, so we look once more
                self._server.serve(desk, _REQUESTS_AT_ONCE, before_each=self._take)
            self._archive.flush(time.monotonic())
        self._take()
        self._archive.close()

    def _take(self) -> None:
        """Move what was recorded into the archive."""
        with suppress(BlockingIOError):
            os.read(self._wake_out, 64)
        # before the queue is emptied: who puts something in afterwards wakes us again
        self._woken = False
        unwritten_bytes = 0
        while self._queue:
            row = self._queue.popleft()
            self._taken_bytes += len(row.body)
            self._archive.take(row)
            unwritten_bytes += len(row.body)
            if unwritten_bytes > _WRITTEN_AT_ONCE_BYTES:  # or memory would overflow
                self._archive.flush(time.monotonic())
                unwritten_bytes = 0
        if self._refused != self._refused_seen:
            self._refused_seen = self._refused
            self._archive.mark_incomplete()

    def close(self) -> None:
        """Write what is left (five seconds at most), note that the epoch has ended, and stop; twice is allowed."""
        self._stopping = True
        self._woken = False
        if self._thread.is_alive():
            self._wake()
            self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            _log.warning("the journal is not done with its disk yet: its last messages may be lost")
            return
        if self._wake_in >= 0:
            os.close(self._wake_in)
            os.close(self._wake_out)
            self._wake_in = self._wake_out = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
