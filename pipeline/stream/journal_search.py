"""What a journal has of the messages between two places, and what it can no longer give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from pipeline.stream.journal_file import JournalFile, Position, Row

EXPIRED = "expired"
MISSING = "missing"
UNKNOWN = "unknown"

OLDEST: Position = (0, 0)
_END_OF_TIME: Position = (2**63 - 1, 2**63 - 1)


class Question(NamedTuple):
    """The messages of one camera and kind after one place, up to and with another (None: until now).

    After `OLDEST` is from the oldest that is kept, and what was forgotten before it is not called lost.
    """

    camera: str
    kind: str
    after: Position
    through: Position | None = None

    @property
    def end(self) -> Position:
        """The last place that belongs to it."""
        return self.through or _END_OF_TIME


class Size(NamedTuple):
    """How much one answer may hold; one message is always allowed."""

    messages: int = 256
    bytes: int = 1 << 17


@dataclass(frozen=True)
class Lost:
    """Messages that cannot be replayed: `expired`, `missing` (the journal never had them) or `unknown`.

    With `open_end`, whatever was published from there to the next message that is known, which may be nothing;
    `last_seq` is `first_seq - 1`.
    """

    epoch: int
    first_seq: int
    last_seq: int
    reason: str
    open_end: bool = False


@dataclass(frozen=True)
class Found:
    """All that can be said up to and with `through`: messages in order, and what is lost between them."""

    rows: list[Row]
    lost: list[Lost]
    through: Position
    more: bool


def covered(recent: list[Row], question: Question, size: Size) -> Found | None:
    """The answer where the newest messages alone have all of it; else None."""
    after, through = question.after, question.through
    if through is None or after[0] != through[0] or len(recent) != through[1] - after[1]:
        return None
    rows, more = _fitting(recent, size)
    return Found(rows, [], rows[-1].position if more else through, more)


def search(file: JournalFile, recent: list[Row], question: Question, size: Size) -> Found:
    """The answer of the file and the newest messages together, which the file may not have yet.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    written, cut = _fitting(file.between(question.camera, question.kind, question.after, question.end), size)
    known = {row.position: row for row in (*written, *recent) if not cut or row.position <= written[-1].position}
    rows, more = _fitting([known[position] for position in sorted(known)], size)
    last = file.last_of_epochs(question.camera, question.kind, question.after[0], question.end[0])
    for row in rows:
        last[row.epoch] = max(last.get(row.epoch, 0), row.seq)
    through = rows[-1].position if more or cut else question.through
    through = through or max(question.after, *last.items(), OLDEST)
    return Found(rows, _lost(file, rows, last, question._replace(through=through)), through, more or cut)


def _lost(file: JournalFile, rows: list[Row], last: dict[int, int], question: Question) -> list[Lost]:
    after, through = question.after, question.end
    if after == OLDEST:
        after = (rows[0].epoch, rows[0].seq - 1) if rows else through
    ended = file.ended_epochs(after[0], through[0] - 1)
    # a publisher that was killed may have said something of a camera that the journal does not know of
    between = dict.fromkeys(ended, 0) | {e: seq for e, seq in last.items() if after[0] <= e < through[0]}
    last = between | {after[0]: max(after[1], between.get(after[0], 0))}
    last[through[0]] = through[1]
    forgotten = file.expired(question.camera, question.kind)
    lost: list[Lost] = []
    for epoch in sorted(last):
        before = after[1] if epoch == after[0] else 0
        numbers = [before, *(row.seq for row in rows if row.epoch == epoch), last[epoch] + 1]
        lost += _holes(epoch, numbers, forgotten.get(epoch, 0))
        if epoch != through[0] and not ended.get(epoch, False):
            lost.append(Lost(epoch, last[epoch] + 1, last[epoch], UNKNOWN, open_end=True))
    return lost


def _fitting(rows: Iterable[Row], size: Size) -> tuple[list[Row], bool]:
    """The first rows, one at least, that fit; and whether there are more."""
    kept: list[Row] = []
    held_bytes = 0
    for row in rows:
        held_bytes += len(row.body)
        if kept and (len(kept) >= size.messages or held_bytes > size.bytes):
            return kept, True
        kept.append(row)
    return kept, False


def _holes(epoch: int, numbers: Sequence[int], forgotten: int) -> Iterator[Lost]:
    """What is missing between one number and the next; up to `forgotten` it was here once."""
    for before, then in pairwise(numbers):
        expired = min(then - 1, max(before, forgotten))
        if expired > before:
            yield Lost(epoch, before + 1, expired, EXPIRED)
        if then - 1 > expired:
            yield Lost(epoch, expired + 1, then - 1, MISSING)
