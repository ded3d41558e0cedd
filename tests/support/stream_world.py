"""A publisher, its journal on a real disk, a network that fails, and subscribers: one history of them, checked.

The clock is the history's own. The journal, the replay desk and the subscriber's order are the real ones; sockets and
threads are not: what is in flight is a list, so that a history can lose, delay, double and cut off what it likes.
"""

import sqlite3
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from stream_promises import Account, Heard, Kept, Lane, Position

from pipeline.stream.archive import Archive, Limits
from pipeline.stream.continuity import Gap, StreamOrder
from pipeline.stream.journal_file import JournalFile, Row
from pipeline.stream.journal_search import Size
from pipeline.stream.messages import (
    KINDS,
    ClipSpan,
    Event,
    Message,
    ModelInfo,
    Prediction,
    StateInfo,
    Status,
    decode,
    encode,
)
from pipeline.stream.rate_limit import RateLimit
from pipeline.stream.replay import ReplayDesk
from pipeline.stream.replay_protocol import RangeAnswer, RangeRequest, decode_answer
from pipeline.stream.replay_protocol import encode as encode_request

LANES = [("a", "clip"), ("a", "event"), ("b", "event")]
CAMERAS = ("a", "b")
KINDS_HEARD = ("clip", "event", "status")
TIMEOUT_S = 2.0
MAX_AGE_S = 20.0
MEMORY_BYTES = 30_000  # about eighty messages
WRITTEN_AFTER = 40
MENDED_S = 1.0  # a journal tries its disk again after that
REQUESTS_HZ, REQUESTS_AT_ONCE = 200.0, 20.0


class FailingArchive(Archive):
    """The real archive on a disk that can be gone, or full, by the history's clock."""

    def __init__(self, path: Path, epoch: int, limits: Limits, clock_s: Callable[[], float]) -> None:
        super().__init__(path, epoch, limits, lambda: round(clock_s() * 1e9))
        self.gone = self.full = False
        self._clock_s = clock_s

    def _opened(self):
        if self.gone:
            raise sqlite3.OperationalError("unable to open database file")
        file = super()._opened()
        file.append = _no_room if self.full else partial(JournalFile.append, file)
        return file

    def flush(self, _now_s: float) -> None:
        super().flush(self._clock_s())

    def _fail(self, error: OSError | sqlite3.Error, _now_s: float) -> None:
        super()._fail(error, self._clock_s())


def _no_room(_rows: Sequence[Row]) -> None:
    raise sqlite3.OperationalError("database or disk is full")


@dataclass
class Listener:
    """A subscriber: its order, what is in flight to it and from it, and an account of all that it gave out."""

    order: StreamOrder
    name: str
    live: list[bytes] = field(default_factory=list)
    answers: list[list[bytes]] = field(default_factory=list)
    cut_off: bool = False
    accounts: defaultdict[Lane, Account] = field(default_factory=lambda: defaultdict(Account))
    heard: defaultdict[Lane, Heard] = field(default_factory=lambda: defaultdict(Heard))
    epochs: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, Position] = field(default_factory=dict)
    excused_s: float = 0.0  # until then the desk was too busy to answer


class World:
    """One history. Every action is a method; what must hold is checked as it goes, and `settle` ends it."""

    def __init__(self, folder: Path, max_age_s: float = MAX_AGE_S) -> None:
        self.folder = folder
        self.max_age_s = max_age_s
        self.now_s = 1000.0
        self.epoch = 0
        self.published: defaultdict[Lane, list[Position]] = defaultdict(list)
        self.ended: set[int] = set()
        self.known: set[int] = set()
        self.listeners: list[Listener] = []
        self.joined = 0
        self.steps = 0
        self.seen: Counter[str] = Counter()
        self.kept = Kept(max_age_s, MEMORY_BYTES)
        self.gone = self.full = False
        self.healthy_s = self.now_s - MENDED_S
        self._start()

    # --- the publisher and its journal

    @property
    def healthy(self) -> bool:
        """Whether the disk takes what is written, and the journal has had time to find that out."""
        return not self.gone and not self.full and self.now_s >= self.healthy_s + MENDED_S

    def _start(self) -> None:
        self.epoch += 1
        self.queue: list[Row] = []
        self.sequence: Counter[Lane] = Counter()
        self.kept.restart()
        self.archive = FailingArchive(
            self.folder / "journal.sqlite",
            self.epoch,
            Limits(self.max_age_s, memory_bytes=MEMORY_BYTES, written_bytes=MEMORY_BYTES // 3),
            lambda: self.now_s,
        )
        self.archive.gone, self.archive.full = self.gone, self.full
        self._flush()
        # some desks give a few messages at a time, some give one
        self.desk = ReplayDesk(self.archive, size=Size(5, 1500 if self.epoch % 2 else 100))
        self.desk._limit = RateLimit(REQUESTS_HZ, REQUESTS_AT_ONCE)

    def publish(self, lane: Lane) -> None:
        camera, kind = lane
        self.sequence[lane] += 1
        position = (self.epoch, self.sequence[lane])
        make = clip_of if kind == "clip" else event_of
        self.published[lane].append(position)
        self._send(Row(camera, kind, *position, round(self.now_s * 1e9), encode(make(camera, *position))))

    def heartbeat(self) -> None:
        for camera in CAMERAS:
            self.sequence[camera, "status"] += 1
            last = {kind: self.sequence[camera, kind] for kind in ("clip", "event")}
            status = Status(
                camera=camera, epoch=self.epoch, seq=self.sequence[camera, "status"], state="running", last_seq=last
            )
            self._send(Row(camera, "status", self.epoch, status.seq, round(self.now_s * 1e9), encode(status)))

    def _send(self, row: Row) -> None:
        self.queue.append(row)
        for listener in self.listeners:
            if not listener.cut_off:
                listener.live.append(row.body)

    def take(self) -> None:
        """The journal's thread wakes up; it writes only where it would soon have too much."""
        for row in self.queue:
            self.archive.take(row)
            self.kept.take((row.camera, row.kind), row.position, len(row.body), row.published_at / 1e9)
            if self.kept.unwritten > WRITTEN_AFTER:
                self._flush()
        self.queue.clear()

    def write(self) -> None:
        self.take()
        self._flush()

    def _flush(self) -> None:
        self.archive.flush(self.now_s)
        if self.healthy:
            self.kept.wrote()
            self.known.add(self.epoch)

    def kill(self) -> None:
        """What was not written is gone, with all that was on its way."""
        self.archive._drop_file()
        for listener in self.listeners:
            listener.answers.clear()
        self._start()

    def stop(self) -> None:
        self.take()
        self.archive.close()
        if not self.gone and not self.full:
            self.kept.wrote()
            self.known.add(self.epoch)
            if not self.kept.lost:
                self.ended.add(self.epoch)
        self.archive._drop_file()
        self._start()

    def disk(self, *, gone: bool = False, full: bool = False) -> None:
        if (self.gone or self.full) and not gone and not full:
            self.healthy_s = self.now_s
        self.gone, self.full = self.archive.gone, self.archive.full = gone, full
        if gone:
            self.archive._drop_file()

    # --- subscribers

    def join(self, since: Listener | None = None) -> None:
        self.joined += 1
        name = f"client {self.joined}"
        if since is None:
            self.listeners.append(Listener(StreamOrder(KINDS_HEARD, timeout_s=TIMEOUT_S), name))
            return
        after = since.order.positions
        order = StreamOrder(KINDS_HEARD, timeout_s=TIMEOUT_S, after=after)
        listener = Listener(order, name, accounts=since.accounts)
        for (camera, _), (epoch, _) in after.items():
            listener.epochs[camera] = max(listener.epochs[camera], epoch)
        self.listeners.append(listener)

    def leave(self, index: int) -> Listener:
        return self.listeners.pop(index)

    def deliver(self, listener: Listener, count: int) -> None:
        for body in listener.live[:count]:
            self._hear(listener, decode(body))
        del listener.live[:count]

    def _hear(self, listener: Listener, message: Message) -> None:
        if message.epoch >= listener.epochs[message.camera]:
            self._note(listener, message)
        listener.order.hear(message, self.now_s)
        self._drain(listener)

    def _note(self, listener: Listener, message: Message) -> None:
        """The first news of a lane is where it begins; of a later publisher all is wanted."""
        camera, epoch = message.camera, message.epoch
        if 0 < listener.epochs[camera] < epoch:
            for kind in ("clip", "event"):
                listener.accounts[camera, kind].begin((epoch, 0))
        listener.epochs[camera] = epoch
        if isinstance(message, Status):
            for kind, seq in message.last_seq.items():
                listener.accounts[camera, kind].begin((epoch, seq))
                listener.heard[camera, kind].news((epoch, seq), self.now_s)
            return
        lane, position = _lane(message), (epoch, message.seq)
        listener.accounts[lane].begin((epoch, message.seq - 1))
        listener.heard[lane].news(position, self.now_s)
        if position > listener.order.positions.get(lane, (0, 0)):
            listener.heard[lane].message(position, self.now_s)

    def lose(self, listener: Listener, index: int) -> None:
        if listener.live:
            listener.live.pop(index % len(listener.live))

    def double(self, listener: Listener, index: int, later: int) -> None:
        if listener.live:
            at = index % len(listener.live)
            listener.live.insert(min(len(listener.live), at + 1 + later), listener.live[at])

    def delay(self, listener: Listener, index: int, later: int) -> None:
        if listener.live:
            listener.live.insert(index % len(listener.live) + later, listener.live.pop(index % len(listener.live)))

    def cut(self, listener: Listener, *, off: bool) -> None:
        """Nothing passes, either way, and what was on its way is lost."""
        listener.cut_off = off
        if off:
            listener.live.clear()
            listener.answers.clear()

    def ask(self, listener: Listener) -> None:
        """Requests that are due reach the desk, and its answers are on their way."""
        for request in list(listener.order.requests(self.now_s)):
            if listener.cut_off:
                listener.order.not_sent(request, self.now_s)
                continue
            self.take()
            frames = self.desk.answer(encode_request(request), listener.name, None, self.now_s)
            self._judge(request, frames)
            listener.answers.append(frames)

    def answer(self, listener: Listener, index: int, *, twice: bool = False) -> None:
        if not listener.answers:
            return
        frames = listener.answers.pop(index % len(listener.answers))
        answer = decode_answer(frames[0])
        listener.excused_s = max(listener.excused_s, self.now_s + getattr(answer, "retry_after_s", 0.0))
        for _ in range(1 + twice):
            listener.order.answer(answer, [decode(body) for body in frames[1:]], self.now_s)
        self._drain(listener)

    def forget_answer(self, listener: Listener) -> None:
        if listener.answers:
            listener.answers.pop()

    def catch_up(self, listener: Listener, most: int) -> None:
        """Ask and read answers, as a subscriber does that has nothing else to do."""
        for _ in range(most):
            self.ask(listener)
            if not listener.answers:
                break
            self.answer(listener, 0)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        for listener in self.listeners:
            listener.order.expire(self.now_s)
            self._drain(listener)
            for lane, heard in listener.heard.items():
                late_s = self.now_s - max(heard.since_s, listener.excused_s) - TIMEOUT_S
                assert late_s < 0 or not heard.waiting, (lane, heard.waiting[0], "held for too long", late_s)

    # --- what must hold

    def _drain(self, listener: Listener) -> None:
        while listener.order.out:
            item = listener.order.out.popleft()
            if isinstance(item, Status):
                before, now = listener.statuses.get(item.camera, (0, 0)), (item.epoch, item.seq)
                assert before < now, (before, now, "of heartbeats only the newest counts")
                listener.statuses[item.camera] = now
                continue
            lane, (first, last) = _lane(item), _span(item)
            account, heard = listener.accounts[lane], listener.heard[lane]
            assert account.start is not None, (first, "came from an old publisher")
            if isinstance(item, Gap):
                self._check_gap(lane, item, heard)
            else:
                assert first[1] <= self._count(lane, first[0]), (first, "was never published")
            self._check_skipped(lane, account, first)
            if isinstance(item, Gap) and item.open_end:
                account.open_end(first, item.reason)
                heard.reported(last, self.now_s)
            else:
                account.add(first, last)
                (heard.reported if isinstance(item, Gap) else heard.came_out)(last, self.now_s)
            self.seen[f"gap: {item.reason}" if isinstance(item, Gap) else "message"] += 1

    def _check_gap(self, lane: Lane, gap: Gap, heard: Heard) -> None:
        """What is reported was published, and nobody had it: not the journal, not in time."""
        missing = [(gap.epoch, seq) for seq in range(gap.first_seq, gap.last_seq + 1)]
        assert gap.last_seq <= self._count(lane, gap.epoch), (gap, "was never published")
        assert gap.open_end == (not missing), gap
        assert gap.reason in ("missing", "expired", "unknown", "no answer"), gap
        if gap.reason == "no answer":
            known_for_s = self.now_s - heard.known_s((gap.epoch, gap.last_seq))
            assert known_for_s >= TIMEOUT_S, (gap, "nobody had time to answer")
            return
        assert gap.open_end == (gap.reason == "unknown"), gap
        assert not gap.open_end or gap.epoch not in self.ended, (gap, "of a publisher that stopped in order")
        for position in missing:
            assert not self.kept.must_have(lane, position, self.now_s), (position, gap, "the journal must have it")
            written = (lane, position) in self.kept.written
            assert gap.reason != "missing" or not written, (position, gap, "was in the journal once")

    def _check_skipped(self, lane: Lane, account: Account, until: Position) -> None:
        """What lies between the last that came out and the next was never published, or nobody knows of it."""
        published = self.published[lane]
        for position in published[bisect_right(published, account.place) : bisect_left(published, until)]:
            told = account.may_skip(position) or not self._leaves_a_trace(position[0])
            assert told, (position, "neither given nor told")
            # behind an open end may lie what the journal never knew of
            if not account.nobody_knows:
                assert not self.kept.must_have(lane, position, self.now_s), (position, "the journal must have it")

    def _count(self, lane: Lane, epoch: int) -> int:
        """How many messages a publisher has published."""
        published = self.published[lane]
        return bisect_left(published, (epoch + 1, 0)) - bisect_left(published, (epoch, 0))

    def _judge(self, request: RangeRequest, frames: list[bytes]) -> None:
        """The desk gives everything that the journal must have, and says of all the rest that it is lost."""
        answer = decode_answer(frames[0])
        assert request.through is not None
        if not isinstance(answer, RangeAnswer):
            places = [(request.through[0], seq) for seq in range(request.after[1] + 1, request.through[1] + 1)]
            in_memory = all(self.kept.in_memory((request.camera, request.kind), place) for place in places)
            assert answer.busy or not (in_memory and request.after[0] == request.through[0]), (answer, "memory has all")
            assert self.gone or answer.busy or not self.healthy, answer
            return
        assert answer.through > request.after, "each part of an answer says something"
        assert answer.through <= request.through if answer.more else answer.through == request.through
        lane = (request.camera, request.kind)
        given = [(m.epoch, m.seq) for m in map(decode, frames[1:])]
        assert given == sorted(set(given)), "in order, nothing twice"
        assert not given or request.after < given[0] <= given[-1] <= answer.through
        published = self.published[lane]
        for position in published[bisect_right(published, request.after) : bisect_right(published, answer.through)]:
            spans = [s for s in answer.lost if s.epoch == position[0] and s.first_seq <= position[1] <= s.last_seq]
            assert len(spans) + (position in given) <= 1, (position, answer)
            if position not in given and not spans and self._leaves_a_trace(position[0]):
                open_ends = [s for s in answer.lost if s.open_end and s.epoch == position[0]]
                assert [s for s in open_ends if s.last_seq < position[1]], (position, answer)

    def check(self, *, settled: bool = False, lossless: bool = False) -> None:
        for listener in self.listeners:
            for lane in LANES:
                account = listener.accounts[lane]
                assert account.start is not None or not settled, (lane, "was never heard of")
                if account.start is None:
                    continue
                place = listener.order.positions[lane]
                self._check_skipped(lane, account, (place[0], place[1] + 1))
                if settled:
                    assert not listener.heard[lane].waiting
                    assert place >= (self.epoch, self.sequence[lane]), (lane, place)
        if lossless:
            assert not [name for name in self.seen if name.startswith("gap")], self.seen

    def _leaves_a_trace(self, epoch: int) -> bool:
        """Whether the journal's file has at least the epoch's name; the present publisher knows of itself."""
        return epoch in self.known or epoch == self.epoch

    def settle(self) -> None:
        """All faults end; soon everybody knows everything that can be known, at the pace of the desk."""
        self.disk()
        for listener in self.listeners:
            listener.cut_off = False
        # the journal tries its disk again; what has been answered is read before anything is given up
        self.now_s += 1.5
        self.write()
        given_up = self.seen["gap: no answer"]
        idle = 0
        while idle < 10:
            before = [listener.order.positions for listener in self.listeners]
            self.heartbeat()
            for listener in self.listeners:
                self.deliver(listener, len(listener.live))
                self.catch_up(listener, 1000)
            self.wait(0.3)
            idle += 1
            if [listener.order.positions for listener in self.listeners] != before:
                idle = 0
            elif not any(listener.order.held for listener in self.listeners):
                break
        assert not any(listener.order.held for listener in self.listeners), "a repair that never ends"
        assert self.seen["gap: no answer"] == given_up, "everybody was answered in time"

    def story(self) -> str:
        """How much happened, for a report."""
        count = sum(map(len, self.published.values()))
        done = ", ".join(f"{name} {number}" for name, number in sorted(self.seen.items()))
        return f"{self.steps} steps, {self.epoch} publishers, {count} messages published; {done}"


def _lane(item: Message | Gap) -> Lane:
    return item.camera, item.kind if isinstance(item, Gap) else KINDS[type(item)]


def _span(item: Message | Gap) -> tuple[Position, Position]:
    if isinstance(item, Gap):
        return (item.epoch, item.first_seq), (item.epoch, item.last_seq)
    return (item.epoch, item.seq), (item.epoch, item.seq)


def event_of(camera: str, epoch: int, seq: int) -> Event:
    return Event(camera=camera, epoch=epoch, seq=seq, id="x", type="begin", label="a", start=0, end=1, peak=1)


def clip_of(camera: str, epoch: int, seq: int) -> Prediction:
    return Prediction(
        camera=camera,
        epoch=epoch,
        seq=seq,
        clip=ClipSpan(0, 0.0, 2.0, 10),
        model=ModelInfo("scene", "1", "ab", "openvino", "f32"),
        state=StateInfo(10, 2.0, True, "start"),
        label="idle",
        scores={},
    )
