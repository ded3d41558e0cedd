"""What a journal and a subscriber promise, counted beside them from what happened to them, and read from neither."""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

Lane = tuple[str, str]
Position = tuple[int, int]

ROW_BYTES = 200  # what a message costs in memory beside its body


class Kept:
    """What a journal must have: all that is young enough, but for what a fault of disk or process cost.

    A lower bound: what the journal has by luck (a write between two faults) is not promised here.
    """

    def __init__(self, max_age_s: float, memory_bytes: int) -> None:
        self.max_age_s = max_age_s
        self.memory_bytes = memory_bytes
        self.written: dict[tuple[Lane, Position], float] = {}
        self.lost = 0
        self._waiting: deque[tuple[tuple[Lane, Position], float, int]] = deque()
        self._in_memory: dict[tuple[Lane, Position], float] = {}
        self._bytes = 0

    @property
    def unwritten(self) -> int:
        return len(self._waiting)

    def take(self, lane: Lane, position: Position, body_bytes: int, now_s: float) -> None:
        """It came to the journal, which holds it in memory until it can write, the newest where there is no room."""
        key = (lane, position)
        self._waiting.append((key, now_s, body_bytes + ROW_BYTES))
        self._in_memory[key] = now_s
        self._bytes += body_bytes + ROW_BYTES
        while self._bytes > self.memory_bytes:
            oldest, _, size = self._waiting.popleft()
            del self._in_memory[oldest]
            self._bytes -= size
            self.lost += 1

    def wrote(self) -> None:
        """The disk was well when the journal wrote."""
        for key, now_s, _ in self._waiting:
            self.written[key] = now_s
        self.drop_memory()

    def drop_memory(self) -> None:
        self._waiting.clear()
        self._in_memory.clear()
        self._bytes = 0

    def restart(self) -> None:
        self.drop_memory()
        self.lost = 0

    def in_memory(self, lane: Lane, position: Position) -> bool:
        return (lane, position) in self._in_memory

    def must_have(self, lane: Lane, position: Position, now_s: float) -> bool:
        taken_s = self.written.get((lane, position), self._in_memory.get((lane, position)))
        return taken_s is not None and now_s - taken_s <= self.max_age_s


@dataclass
class Heard:
    """What reached one subscriber of one camera and kind: it must come out again, and nothing is given up too soon."""

    waiting: list[Position] = field(default_factory=list)
    since_s: float = 0.0
    _news: list[Position] = field(default_factory=list)
    _news_s: list[float] = field(default_factory=list)

    def news(self, position: Position, now_s: float) -> None:
        """That all up to `position` had been published was heard, from it or from a heartbeat."""
        if not self._news or position > self._news[-1]:
            self._news.append(position)
            self._news_s.append(now_s)

    def known_s(self, position: Position) -> float:
        """When it was first heard that something had been published there."""
        return self._news_s[bisect_left(self._news, position)]

    def message(self, position: Position, now_s: float) -> None:
        at = bisect_left(self.waiting, position)
        if self.waiting[at : at + 1] != [position]:
            if not self.waiting:
                self.since_s = now_s
            insort(self.waiting, position)

    def came_out(self, position: Position, now_s: float) -> None:
        self.since_s = now_s
        if self.waiting and self.waiting[0] <= position:
            first = self.waiting.pop(0)
            assert first == position, (first, "was heard and not given out; this was", position)

    def reported(self, last: Position, now_s: float) -> None:
        self.since_s = now_s
        assert not self.waiting or self.waiting[0] > last, (self.waiting[0], "was heard and is reported as lost")


class Account:
    """All that one subscriber gave out and reported of one camera and kind, checked as it comes."""

    def __init__(self) -> None:
        self.start: Position | None = None
        self.place: Position = (0, 0)
        self.open_ends: dict[int, Position] = {}
        self.nobody_knows = False

    def begin(self, place: Position) -> None:
        if self.start is None:
            self.start = self.place = place

    def add(self, first: Position, last: Position) -> None:
        """Messages, or a gap."""
        assert self.place < first, (self.place, first, "in order, nothing twice")
        self.place = last
        self.nobody_knows = False

    def open_end(self, first: Position, reason: str) -> None:
        assert self.place < first, (self.place, first, "in order")
        assert first[0] not in self.open_ends, (first[0], "reported once")
        self.open_ends[first[0]] = first
        self.place = (first[0], first[1] - 1)
        self.nobody_knows = reason == "no answer"

    def may_skip(self, position: Position) -> bool:
        """Whether it lies behind an open end: of its epoch, or of one that nobody could tell the next epochs of."""
        return self.nobody_knows or position >= self.open_ends.get(position[0], (position[0] + 1, 0))
