"""The newest published messages in memory: what the file has not taken yet, and all there is while it cannot."""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import islice

from pipeline.stream.journal_file import Position, Row

_OVERHEAD_BYTES = 200  # of a row and its places in two queues


class RecentMessages:
    """A ring bounded in bytes; counts at its end those that are not written yet. Used from one thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._rows: deque[Row] = deque()
        self._lanes: defaultdict[tuple[str, str], deque[Row]] = defaultdict(deque)
        self.unwritten = 0
        self.lost = 0

    def add(self, row: Row) -> None:
        """Take a message in; the oldest goes where there is no room, written or not."""
        self._rows.append(row)
        self._lanes[row.camera, row.kind].append(row)
        self._bytes += len(row.body) + _OVERHEAD_BYTES
        self.unwritten += 1
        while self._bytes > self._max_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        row = self._rows.popleft()
        lane = self._lanes[row.camera, row.kind]
        lane.popleft()
        if not lane:
            del self._lanes[row.camera, row.kind]
        self._bytes -= len(row.body) + _OVERHEAD_BYTES
        if self.unwritten > len(self._rows):
            self.unwritten -= 1
            self.lost += 1

    def shed(self, kept_bytes: int) -> None:
        """Let go of the oldest written messages, down to so many bytes in all."""
        while self._bytes > kept_bytes and len(self._rows) > self.unwritten:
            self._drop_oldest()

    def oldest_unwritten(self, most: int) -> list[Row]:
        """Up to `most` messages that the file should take next."""
        start = len(self._rows) - self.unwritten
        return list(islice(self._rows, start, start + most))

    def forget_written(self) -> None:
        """Count all messages as unwritten: the file that had them is gone."""
        self.unwritten = len(self._rows)

    def between(self, camera: str, kind: str, after: Position, through: Position) -> list[Row]:
        """The messages after one place, up to and with another, in order."""
        lane = self._lanes.get((camera, kind), ())
        return [row for row in lane if after < row.position <= through]
