"""What was published, found again: in the journal's file, and in memory while the file cannot be used.

A file that cannot be written (disk full, read-only) is tried again each second, with all that memory still holds; one
that is damaged is set aside, for whoever wants to look at it, and a new one begun.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.errors import StreamError
from pipeline.stream.journal_file import JournalFile, Row
from pipeline.stream.journal_memory import RecentMessages
from pipeline.stream.journal_search import Found, Question, Size, covered, search

_log = logging.getLogger(__name__)

_MEMORY_BYTES = 16 << 20
_WRITTEN_BYTES = 2 << 20  # full within minutes: a process that grows for an hour looks as if it leaked
_BATCH = 500
_RETRY_S = 1.0
_TRIM_S = 5.0
_TRIES_BEFORE_REOPENING = 3


@dataclass(frozen=True)
class Limits:
    """How much is kept: seconds since publication, and megabytes of file.

    Memory takes up to `memory_bytes` while the file cannot be written, and keeps up to `written_bytes` of what the file
    has as well, in case it turns out to be damaged.
    """

    max_age_s: float = 3600.0
    max_mb: float = 256.0
    memory_bytes: int = _MEMORY_BYTES
    written_bytes: int = _WRITTEN_BYTES


class Archive:
    """File and memory as one. Used from one thread; only `alarm` and the counters may be read from others.

    Raises:
        StreamError: from `find`, where only the file knows the answer and it cannot be read now.
    """

    def __init__(
        self, path: Path, epoch: int, limits: Limits = Limits(), clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.epoch = epoch
        self.alarm = ""
        self._path = path
        self._limits = limits
        self._max_bytes = limits.max_mb * 1e6
        self._clock_ns = clock_ns
        self._memory = RecentMessages(limits.memory_bytes)
        self._newest: dict[tuple[str, str], Row] = {}
        self._file: JournalFile | None = None
        self._complete = True
        self._failures = 0
        self._retry_s = 0.0
        self._trim_s = 0.0

    @property
    def unwritten(self) -> int:
        """How many messages wait for the file."""
        return self._memory.unwritten

    @property
    def lost(self) -> int:
        """How many went out of memory before the file could take them."""
        return self._memory.lost

    def take(self, row: Row) -> None:
        """Keep a message: from now on it is found, and the next `flush` writes it."""
        self._memory.add(row)
        known = self._newest.get((row.camera, row.kind))
        if known is None or known.position < row.position:
            self._newest[row.camera, row.kind] = row

    def mark_incomplete(self) -> None:
        """Note that a message of this epoch never came here."""
        self._complete = False

    def flush(self, now_s: float) -> None:
        """Write what the file has not got, unless that failed a moment ago; forget what is too old."""
        if now_s < self._retry_s:
            return
        try:
            file = self._opened()
            while rows := self._memory.oldest_unwritten(_BATCH):
                file.append(rows)
                self._memory.unwritten -= len(rows)
            self._memory.shed(self._limits.written_bytes)
            if now_s >= self._trim_s or file.size_bytes > self._max_bytes:
                self._trim(file, now_s)
            if self.alarm:
                self._heal()
        except (OSError, sqlite3.Error) as error:
            self._fail(error, now_s)

    def find(self, question: Question, size: Size) -> Found:
        """The messages asked for, as much as fits into `size`, and what of them is lost."""
        recent = self._memory.between(question.camera, question.kind, question.after, question.end)
        if found := covered(recent, question, size):
            return found
        try:
            return search(self._opened(), recent, question, size)
        except (OSError, sqlite3.Error) as error:
            self._fail(error, time.monotonic())
            raise StreamError(self.alarm) from error

    def newest(self) -> dict[tuple[str, str], Row]:
        """The last message of each camera and kind, unless it is too old."""
        oldest_ns = self._oldest_ns()
        return {lane: row for lane, row in self._newest.items() if row.published_at >= oldest_ns}

    def close(self) -> None:
        """Write the rest; where nothing of this epoch is missing, note that its end is known."""
        self._retry_s = 0.0
        self.flush(time.monotonic())
        try:
            if self._file is not None and not self.unwritten and not self.lost and self._complete:
                self._file.end_epoch()
            self._drop_file()
        except sqlite3.Error as error:
            self._fail(error, time.monotonic())

    def _oldest_ns(self) -> int:
        return self._clock_ns() - round(self._limits.max_age_s * 1e9)

    def _trim(self, file: JournalFile, now_s: float) -> None:
        more = file.trim(self._oldest_ns(), self._max_bytes)
        self._trim_s = now_s if more else now_s + _TRIM_S
        self._newest = self.newest()

    def _opened(self) -> JournalFile:
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            self._file = JournalFile(self._path, self.epoch)
            for row in self._file.newest():
                self._newest.setdefault((row.camera, row.kind), row)
        return self._file

    def _fail(self, error: OSError | sqlite3.Error, now_s: float) -> None:
        damaged = type(error) is sqlite3.DatabaseError
        what = "is damaged and was set aside" if damaged else "cannot be used"
        if not self.alarm:
            _log.warning("the journal %s %s (%s): missed messages are replayed from memory", self._path, what, error)
        self.alarm = f"the journal {self._path} {what} ({error}): missed messages are replayed from memory"
        self._failures += 1
        self._retry_s = now_s + _RETRY_S
        if damaged or self._failures % _TRIES_BEFORE_REOPENING == 0:
            self._drop_file()
        if damaged:
            self._set_aside()
            # the new file gets what memory has; what it had before is gone, and with it perhaps some cameras' last
            self._memory.forget_written()
            self._complete = False

    def _drop_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _set_aside(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            path = self._path.with_name(self._path.name + suffix)
            try:
                path.replace(path.with_name(f"damaged-{path.name}"))
            except OSError as error:
                _log.debug("%s was not set aside: %s", path, error.strerror)

    def _heal(self) -> None:
        _log.warning("the journal %s is written again", self._path)
        self.alarm, self._failures = "", 0
