"""A publisher, its journal on a real disk, a network that fails, and subscribers: one history of them, checked.

The clock is the history's own. The journal, the replay desk and the subscriber's order are the real ones; sockets and
threads are not: what is in flight is a list, so that a history can lose, delay, double and cut off what it likes.
"""

import sqlite3
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from pipeline.stream.archive import Archive, Limits
from pipeline.stream.continuity import Gap, StreamOrder
from pipeline.stream.journal_file import Row
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
from pipeline.stream.replay import ReplayDesk
from pipeline.stream.replay_protocol import RangeAnswer, decode_answer, decode_request
from pipeline.stream.replay_protocol import encode as encode_request

LANES = [("a", "clip"), ("a", "event"), ("b", "event")]
CAMERAS = ("a", "b")
TIMEOUT_S = 2.0
MAX_AGE_S = 20.0
MEMORY_BYTES = 30_000  # about eighty messages
WRITTEN_AFTER = 40
STEP_S = 0.002

Lane = tuple[str, str]
Position = tuple[int, int]


class FailingArchive(Archive):
    """The real archive on a disk that can be gone, or full."""

    gone = False
    full = False
    known = False  # whether the file knows of this epoch at all

    def _opened(self):
        if self.gone:
            raise sqlite3.OperationalError("unable to open database file")
        file = super()._opened()
        self.known = True
        return file

    def flush(self, now_s: float) -> None:
        if not self.full:
            super().flush(now_s)
        elif self.unwritten:
            self._fail(sqlite3.OperationalError("database or disk is full"), now_s)


@dataclass
class Listener:
    """A subscriber: its order, what is in flight to it and from it, and all that it ever gave out."""

    order: StreamOrder
    live: list[bytes] = field(default_factory=list)
    answers: list[list[bytes]] = field(default_factory=list)
    cut_off: bool = False
    log: defaultdict[Lane, list[Message | Gap]] = field(default_factory=lambda: defaultdict(list))
    start: dict[Lane, Position] = field(default_factory=dict)


class World:
    """One history. Every action is a method; `settle` ends it, and `check` holds at any time."""

    def __init__(self, folder: Path, max_age_s: float = MAX_AGE_S) -> None:
        self.folder = folder
        self.max_age_s = max_age_s
        self.now_s = 1000.0
        self.epoch = 0
        self.published: defaultdict[Lane, list[Position]] = defaultdict(list)
        self.ended: set[int] = set()
        self.listeners: list[Listener] = []
        self.steps = 0
        self.seen: Counter[str] = Counter()
        self.archive: FailingArchive | None = None
        self.known: set[int] = set()
        self._start()

    # --- the publisher and its journal

    def _start(self) -> None:
        self.epoch += 1
        self.queue: list[Row] = []
        self.sequence: Counter[Lane] = Counter()
        self.archive = FailingArchive(
            self.folder / "journal.sqlite",
            self.epoch,
            Limits(self.max_age_s, memory_bytes=MEMORY_BYTES, written_bytes=MEMORY_BYTES // 3),
            lambda: round(self.now_s * 1e9),
        )
        self.archive.flush(self.now_s)
        self.desk = ReplayDesk(self.archive, size=Size(5, 1500))

    def publish(self, lane: Lane) -> None:
        camera, kind = lane
        self.sequence[lane] += 1
        position = (self.epoch, self.sequence[lane])
        make = _clip if kind == "clip" else _event
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
            if self.archive.unwritten > WRITTEN_AFTER:
                self.archive.flush(self.now_s)
        self.queue.clear()

    def write(self) -> None:
        self.take()
        self.archive.flush(self.now_s)

    def kill(self) -> None:
        """What was not written is gone, with all that was on its way."""
        self.archive._drop_file()
        for listener in self.listeners:
            listener.answers.clear()
        self._next()

    def _next(self) -> None:
        if self.archive.known:
            self.known.add(self.epoch)
        self._start()

    def stop(self) -> None:
        self.take()
        self.archive.close()
        if not self.archive.alarm and not self.archive.lost:
            self.ended.add(self.epoch)
        self._next()

    def disk(self, *, gone: bool = False, full: bool = False) -> None:
        self.archive.gone, self.archive.full = gone, full
        if gone:
            self.archive._drop_file()

    # --- subscribers

    def join(self, since: Listener | None = None) -> None:
        if since is None:
            listener = Listener(StreamOrder(["clip", "event"], timeout_s=TIMEOUT_S))
        else:
            listener = Listener(
                StreamOrder(["clip", "event"], timeout_s=TIMEOUT_S, after=since.order.positions),
                log=since.log,
                start=since.start,
            )
        self.listeners.append(listener)

    def leave(self, index: int) -> Listener:
        listener = self.listeners.pop(index)
        self._drain(listener)
        return listener

    def deliver(self, listener: Listener, count: int) -> None:
        for _ in range(min(count, len(listener.live))):
            self._hear(listener, listener.live.pop(0))

    def _hear(self, listener: Listener, body: bytes) -> None:
        listener.order.hear(decode(body), self.now_s)
        self._drain(listener)
        for lane, position in listener.order.positions.items():
            first = next((_first(item) for item in listener.log[lane]), None)
            listener.start.setdefault(lane, (first[0], first[1] - 1) if first else position)

    def lose(self, listener: Listener, index: int) -> None:
        if listener.live:
            listener.live.pop(index % len(listener.live))

    def double(self, listener: Listener, index: int, later: int) -> None:
        if listener.live:
            at = index % len(listener.live)
            listener.live.insert(min(len(listener.live), at + 1 + later), listener.live[at])

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
            frames = self.desk.answer(encode_request(request), "client", None, self.now_s)
            self._judge(encode_request(request), frames)
            listener.answers.append(frames)

    def answer(self, listener: Listener, index: int, *, twice: bool = False) -> None:
        if not listener.answers:
            return
        frames = listener.answers.pop(index % len(listener.answers))
        for _ in range(1 + twice):
            listener.order.answer(decode_answer(frames[0]), [decode(body) for body in frames[1:]], self.now_s)
        self._drain(listener)

    def forget_answer(self, listener: Listener) -> None:
        if listener.answers:
            listener.answers.pop()

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        for listener in self.listeners:
            listener.order.expire(self.now_s)
            self._drain(listener)

    def _drain(self, listener: Listener) -> None:
        while listener.order.out:
            item = listener.order.out.popleft()
            kind = item.kind if isinstance(item, Gap) else KINDS[type(item)]
            listener.log[item.camera, kind].append(item)
            self.seen[f"gap: {item.reason}" if isinstance(item, Gap) else "message"] += 1

    # --- what must hold

    def _judge(self, request: bytes, frames: list[bytes]) -> None:
        """The desk gives everything that the journal holds, and says of all the rest that it is lost."""
        answer = decode_answer(frames[0])
        if not isinstance(answer, RangeAnswer):
            assert self.archive.gone or self.archive.alarm or answer.busy, answer
            return
        question = decode_request(request)
        lane = (question.camera, question.kind)
        given = [(m.epoch, m.seq) for m in map(decode, frames[1:])]
        assert given == sorted(set(given)), "in order, nothing twice"
        held = self._held(lane, question.after, answer.through)
        published = self.published[lane]
        for position in published[bisect_right(published, question.after) : bisect_right(published, answer.through)]:
            spans = [s for s in answer.lost if s.epoch == position[0] and s.first_seq <= position[1] <= s.last_seq]
            assert (position in given) == (position in held), (position, "held by the journal")
            assert (position in given) + len(spans) <= 1, (position, answer)
            if position not in given and not spans and position[0] in self.ever_known:
                open_ends = [s for s in answer.lost if s.open_end and s.epoch == position[0]]
                assert [s for s in open_ends if s.last_seq < position[1]], (position, answer)
        for span in answer.lost:
            assert not (span.open_end and span.epoch in self.ended), span

    def _held(self, lane: Lane, after: Position, through: Position) -> set[Position]:
        held = {row.position for row in self.archive._memory.between(*lane, after, through)}
        if self.archive._file is not None:
            held |= {row.position for row in self.archive._file.between(*lane, after, through)}
        return held

    def story(self) -> str:
        """How much happened, for a report."""
        count = sum(map(len, self.published.values()))
        done = ", ".join(f"{name} {number}" for name, number in sorted(self.seen.items()))
        return f"{self.steps} steps, {self.epoch} publishers, {count} messages published; {done}"

    def settle(self) -> None:
        """All faults end; soon everybody knows everything that can be known."""
        self.disk()
        for listener in self.listeners:
            listener.cut_off = False
        # the journal tries its disk again; what has been answered is read before anything is given up
        self.now_s += 1.5
        self.write()
        for _ in range(5000):  # whoever is far behind is served at the desk's own pace
            self.heartbeat()
            for listener in self.listeners:
                self.deliver(listener, len(listener.live))
                self.ask(listener)
                while listener.answers:
                    self.answer(listener, 0)
                    self.ask(listener)
            self.wait(0.3)
            if not any(listener.order.held for listener in self.listeners):
                break
        assert not any(listener.order.held for listener in self.listeners)

    def check(self, *, settled: bool = False, lossless: bool = False) -> None:
        for listener in self.listeners:
            for lane in LANES:
                self._check_lane(listener, lane, settled=settled, lossless=lossless)

    def _check_lane(self, listener: Listener, lane: Lane, *, settled: bool, lossless: bool) -> None:
        accounted: Counter[Position] = Counter()
        told = set()
        unknown: list[tuple[Position, Position]] = []  # between these two, nobody knows
        place = listener.start.get(lane, (0, 0))
        for item in listener.log[lane]:
            first = _first(item)
            last = (item.epoch, item.last_seq if isinstance(item, Gap) else item.seq)
            open_end = isinstance(item, Gap) and item.open_end
            assert place < first, (place, first, "in order, nothing twice")
            if unknown and unknown[-1][1] is None:
                unknown[-1] = (unknown[-1][0], first)
            if open_end:
                assert item.epoch not in told, "reported once"
                told.add(item.epoch)
                unknown.append((last, None))
            accounted.update((item.epoch, seq) for seq in range(first[1], last[1] + 1))
            place = max(place, last)
        assert not accounted or max(accounted.values()) == 1, "given out or reported, and once"
        if settled:
            place = listener.order.positions.get(lane, place)
            assert not self.sequence[lane] or place >= (self.epoch, self.sequence[lane])
        if lane not in listener.start:
            return
        unknown = [(begin, end or (place[0] + 1, 0)) for begin, end in unknown]
        for position in self.published[lane]:
            if listener.start[lane] < position <= place and not accounted[position] and position[0] in self.ever_known:
                assert any(begin < position < end for begin, end in unknown), (position, "neither given nor told")
        if lossless:
            assert not [item for item in listener.log[lane] if isinstance(item, Gap)]

    @property
    def ever_known(self) -> set[int]:
        """The epochs of which the journal's file has at least the name."""
        return {*self.known, self.epoch}


_WEIGHTS = """
publish 10   burst 2     heartbeat 3   take 2     write 3    kill 0.5      stop 0.5   disk 0.4   join 0.2
leave 0.15   rejoin 0.2  deliver 8     lose 2     double 1   cut 0.3       mend 0.6   ask 5      answer 5
forget 0.5   wait 4      wait-long 0.2
"""
ACTIONS = dict(zip(_WEIGHTS.split()[::2], map(float, _WEIGHTS.split()[1::2]), strict=True))
LOSSLESS = {"publish", "burst", "heartbeat", "take", "write", "stop", "join", "rejoin", "deliver", "lose", "double"}
GENTLE = LOSSLESS | {"ask", "answer"}


def act(world: World, action: str, random: Random) -> None:
    """One step of a history; `random` decides the details."""
    world.steps += 1
    world.now_s += STEP_S
    world.seen[action] += 1
    listener = random.choice(world.listeners) if world.listeners else None
    if action == "publish":
        world.publish(random.choice(LANES))
    elif action == "burst":
        for _ in range(random.randint(2, 12)):
            world.publish(random.choice(LANES))
    elif action == "heartbeat":
        world.heartbeat()
    elif action in ("take", "write", "kill", "stop"):
        getattr(world, action)()
    elif action == "disk":
        world.disk(**random.choice([{"gone": True}, {"full": True}, {}, {}]))
    elif action == "join" and len(world.listeners) < 3:
        world.join()
    elif action == "wait":
        world.wait(random.choice([0.05, 0.3, 0.6, 1.0]))
    elif action == "wait-long":
        world.wait(MAX_AGE_S * random.random())
    elif listener is not None:
        _act_on(world, action, listener, random)


def _act_on(world: World, action: str, listener: Listener, random: Random) -> None:
    at = random.randrange(1000)
    if action in ("leave", "rejoin"):
        left = world.leave(world.listeners.index(listener))
        if action == "rejoin":
            world.join(since=left)
    elif action == "deliver":
        world.deliver(listener, random.randint(1, 20))
    elif action == "lose":
        world.lose(listener, at)
    elif action == "double":
        world.double(listener, at, random.randrange(4))
    elif action in ("cut", "mend"):
        world.cut(listener, off=action == "cut")
    elif action == "ask":
        world.ask(listener)
    elif action == "answer":
        world.answer(listener, at, twice=random.random() < 0.1)
    elif action == "forget":
        world.forget_answer(listener)


def _first(item: Message | Gap) -> Position:
    return item.epoch, item.first_seq if isinstance(item, Gap) else item.seq


def _event(camera: str, epoch: int, seq: int) -> Event:
    return Event(camera=camera, epoch=epoch, seq=seq, id="x", type="begin", label="a", start=0, end=1, peak=1)


def _clip(camera: str, epoch: int, seq: int) -> Prediction:
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
