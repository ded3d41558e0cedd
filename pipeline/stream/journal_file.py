"""The journal's file: published messages in SQLite, found again by camera, kind, epoch and number.

Write-ahead log and `synchronous=NORMAL`: a commit is a write without a wait for the disk, so that a killed process
loses nothing that was committed and a power cut at most the last seconds, never the file. No message is believed whose
checksum is wrong. See https://www.sqlite.org/wal.html and https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_LAYOUT = 1
_DELETED_AT_ONCE = 5000
_KEPT_EPOCHS = 200
_BUSY_S = 1.0
_LOG_BYTES = 8 << 20
_TABLES = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, camera TEXT NOT NULL, kind TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    published_at INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (camera, kind, epoch, seq));
CREATE TABLE IF NOT EXISTS expired (
    camera TEXT NOT NULL, kind TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (camera, kind, epoch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS epoch (epoch INTEGER PRIMARY KEY, ended INTEGER NOT NULL DEFAULT 0);
"""
# from epoch to epoch through the index: to look at each message would take longer than to send those asked for
_LAST_OF_EPOCHS = """
WITH RECURSIVE known (epoch) AS (
    SELECT min(epoch) FROM message WHERE camera = ?1 AND kind = ?2 AND epoch >= ?3
    UNION ALL
    SELECT (SELECT min(epoch) FROM message WHERE camera = ?1 AND kind = ?2 AND epoch > known.epoch)
    FROM known WHERE known.epoch < ?4)
SELECT epoch, max(seq) FROM (
    SELECT epoch, (SELECT max(seq) FROM message WHERE camera = ?1 AND kind = ?2 AND epoch = known.epoch) AS seq
    FROM known
    UNION ALL SELECT epoch, seq FROM expired WHERE camera = ?1 AND kind = ?2)
WHERE epoch BETWEEN ?3 AND ?4 GROUP BY epoch
"""

Position = tuple[int, int]
"""Epoch and number: the place of a message among all of its camera and kind."""


class Row(NamedTuple):
    """A message as it was published; `published_at` is nanoseconds of UTC."""

    camera: str
    kind: str
    epoch: int
    seq: int
    published_at: int
    body: bytes

    @property
    def position(self) -> Position:
        """Where it stands among the messages of its camera and kind."""
        return self.epoch, self.seq


class JournalFile:
    """One SQLite file, opened or begun. Every method may raise `sqlite3.Error`. Used from one thread."""

    def __init__(self, path: Path, epoch: int) -> None:
        self._epoch = epoch
        self._db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)
        try:
            self._prepare()
        except sqlite3.Error:
            self._db.close()
            raise

    def _prepare(self) -> None:
        if self._number("PRAGMA user_version") not in (0, _LAYOUT):
            raise sqlite3.DatabaseError("the file was written by another version")
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        self._db.executescript(_TABLES)
        self._db.execute(f"PRAGMA user_version = {_LAYOUT}")
        self._db.execute("INSERT OR IGNORE INTO epoch (epoch) VALUES (?)", (self._epoch,))

    def append(self, rows: Sequence[Row]) -> None:
        """Write messages, all or none; those that are there already stay. Of statuses the newest alone is kept."""
        statuses = {row.camera: row for row in rows if row.kind == "status"}
        kept = [row for row in rows if row.kind != "status" or statuses[row.camera] is row]
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.executemany(
                "DELETE FROM message WHERE camera = ? AND kind = 'status'", [(camera,) for camera in statuses]
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO message (camera, kind, epoch, seq, published_at, crc, body) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*row[:5], _checksum(row), row.body) for row in kept],
            )

    def between(self, camera: str, kind: str, after: Position, through: Position) -> Iterator[Row]:
        """The messages after one place, up to and with another, in order."""
        found = self._db.execute(
            "SELECT epoch, seq, published_at, crc, body FROM message WHERE camera = ? AND kind = ? "
            "AND (epoch, seq) > (?, ?) AND (epoch, seq) <= (?, ?) ORDER BY epoch, seq",
            (camera, kind, *after, *through),
        )
        for epoch, seq, published_at, crc, body in found:
            row = Row(camera, kind, epoch, seq, published_at, body)
            if _checksum(row) == crc:
                yield row

    def newest(self) -> list[Row]:
        """The last message of each camera and kind."""
        lanes = self._db.execute("SELECT DISTINCT camera, kind FROM message").fetchall()
        found = []
        for camera, kind in lanes:
            row = self._db.execute(
                "SELECT epoch, seq, published_at, crc, body FROM message WHERE camera = ? AND kind = ? "
                "ORDER BY epoch DESC, seq DESC LIMIT 1",
                (camera, kind),
            ).fetchone()
            last = Row(camera, kind, row[0], row[1], row[2], row[4])
            if _checksum(last) == row[3]:
                found.append(last)
        return found

    def last_of_epochs(self, camera: str, kind: str, first: int, last: int) -> dict[int, int]:
        """The highest number known of each epoch from `first` to `last` in which the camera said something."""
        found = self._db.execute(_LAST_OF_EPOCHS, (camera, kind, first, last))
        return dict(found.fetchall())

    def expired(self, camera: str, kind: str) -> dict[int, int]:
        """The highest number of each epoch that was here and has been forgotten."""
        found = self._db.execute("SELECT epoch, seq FROM expired WHERE camera = ? AND kind = ?", (camera, kind))
        return dict(found.fetchall())

    def ended_epochs(self, first: int, last: int) -> dict[int, bool]:
        """The epochs that are known from `first` to `last`, and whether their publisher stopped in order."""
        found = self._db.execute("SELECT epoch, ended FROM epoch WHERE epoch BETWEEN ? AND ?", (first, last))
        return {epoch: bool(ended) for epoch, ended in found}

    def trim(self, oldest_ns: int, max_bytes: float) -> bool:
        """Forget what was published before `oldest_ns`, and the oldest where the file is too large.

        Returns:
            Whether more is to be forgotten: one call takes a few thousand messages at most.
        """
        lowest, highest = self._db.execute("SELECT min(id), max(id) FROM message").fetchone()
        if lowest is None:
            return False
        fresh = self._db.execute(
            "SELECT id FROM message WHERE published_at >= ? ORDER BY id LIMIT 1", (oldest_ns,)
        ).fetchone()
        cut = highest + 1 if fresh is None else fresh[0]
        if self.size_bytes > max_bytes:
            cut = max(cut, lowest + 1 + (highest - lowest) // 10)
        if cut > lowest:
            self._forget(min(cut, lowest + _DELETED_AT_ONCE))
        return cut > lowest + _DELETED_AT_ONCE or self.size_bytes > max_bytes

    def _forget(self, cut: int) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.execute(
                "INSERT INTO expired SELECT camera, kind, epoch, max(seq) FROM message "
                "WHERE id < ? AND kind != 'status' GROUP BY camera, kind, epoch "
                "ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
                (cut,),
            )
            self._db.execute("DELETE FROM message WHERE id < ?", (cut,))
            self._db.execute(
                "DELETE FROM epoch WHERE epoch <= (SELECT epoch FROM epoch ORDER BY epoch DESC LIMIT 1 OFFSET ?)",
                (_KEPT_EPOCHS,),
            )
            self._db.execute("DELETE FROM expired WHERE epoch < (SELECT min(epoch) FROM epoch)")
        # as a script: `execute` takes one step, which gives back one page, and what stays large is trimmed for ever
        self._db.executescript("PRAGMA incremental_vacuum")

    @property
    def size_bytes(self) -> int:
        """How large the file is, without the log beside it."""
        return self._number("PRAGMA page_count") * self._number("PRAGMA page_size")

    def end_epoch(self) -> None:
        """Note that nothing more comes in this epoch, and that all of it is here."""
        self._db.execute("UPDATE epoch SET ended = 1 WHERE epoch = ?", (self._epoch,))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _number(self, question: str) -> int:
        return int(self._db.execute(question).fetchone()[0])


def _checksum(row: Row) -> int:
    return zlib.crc32(f"{row.camera}/{row.kind}/{row.epoch}/{row.seq}/".encode(), zlib.crc32(row.body))
