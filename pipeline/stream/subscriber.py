"""The subscriber: predictions as an iterator, in order, with what got lost on the way asked for again."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import zmq

from engines.errors import StreamError
from pipeline.keys.client import ClientKeys
from pipeline.stream.admission import Admission
from pipeline.stream.continuity import Gap, StreamOrder
from pipeline.stream.lane import Position
from pipeline.stream.late_joiner import LateJoiner
from pipeline.stream.messages import KINDS, MAX_MESSAGE_BYTES, TYPES, Message, Status, decode, topic
from pipeline.stream.replay_client import ReplayClient, resolve
from pipeline.stream.replay_protocol import LastAnswer

if TYPE_CHECKING:
    import os
    from types import TracebackType

_log = logging.getLogger(__name__)

DEFAULT_ADDRESS = "tcp://127.0.0.1:5555"
_HIGH_WATER_MARK = 10_000
_KNOWN_KINDS = [[kind.encode()] for kind in TYPES]
_READ_AT_ONCE = 64
_MOST_HELD = 10_000
_LONGEST_TURN_S = 0.5


class Subscriber:
    """Receives a publisher's messages, in order and without doubles, and repairs what it missed.

    Iterating never ends by itself: it yields messages as they come, and reconnects when the publisher was away. A hole
    is asked for at the publisher's replay endpoint, also across restarts of the publisher; messages of that camera and
    kind wait for it, `repair_timeout_s` at most. What is beyond repair is handed to `on_gap` and counted in `missed`.
    All of it happens inside `receive` and the iteration. One thread at a time.

    Args:
        address: where the publisher is bound; else what the key file says, else `tcp://127.0.0.1:5555`.
        cameras: name or names of the cameras to hear, or None for all.
        kinds: which of `clip` (Prediction), `event` (Event) and `status` (Status) to yield.
        on_gap: called with each `Gap` before the message after it.
        keys: the key file that `vidpipe keys new` wrote, for a publisher with keys.
        repair: ask for what was missed; else a hole is a gap at once.
        replay: where to ask, instead of where the publisher says.
        repair_timeout_s: how long messages wait behind a hole for a word from the publisher.
        last: give the last message of each camera and kind first, although it was published before we came.
        since: begin after these places instead of now: `positions` of an earlier subscriber.
        latest: of what has arrived give the newest message of each camera and kind alone, and repair nothing.
        max_age_s: count in `late` each message that is older than this when it arrives, and log when that begins.

    Raises:
        StreamError: the address, the key file or a kind is not valid, or no camera is named.
    """

    def __init__(
        self,
        address: str | None = None,
        cameras: str | Sequence[str] | None = None,
        *,
        kinds: Sequence[str] = ("clip",),
        on_gap: Callable[[Gap], None] | None = None,
        keys: str | os.PathLike[str] | None = None,
        repair: bool = True,
        replay: str | None = None,
        repair_timeout_s: float = 2.0,
        last: bool = False,
        since: Mapping[tuple[str, str], Position] | None = None,
        latest: bool = False,
        max_age_s: float | None = None,
    ) -> None:
        unknown = [kind for kind in kinds if kind not in TYPES]
        if unknown or not kinds:
            raise StreamError(f"kinds is {list(kinds)}; allowed are {', '.join(TYPES)}")
        names = [cameras] if isinstance(cameras, str) else cameras
        if names is not None and not names:
            raise StreamError("cameras is empty: name at least one camera, or leave it out to hear all")
        own = None if keys is None else ClientKeys.load(keys)
        self._address = address or (own.address if own else "") or DEFAULT_ADDRESS
        self.damaged = 0
        self.late = 0
        self._on_gap = on_gap
        self._latest = latest
        self._max_age_s = max_age_s
        self._repair = repair and not latest
        self._fixed_replay = replay is not None
        self._order = StreamOrder(kinds, timeout_s=repair_timeout_s, repairing=self._repair, after=since)
        self._joiner = LateJoiner(names, kinds, repair_timeout_s) if last else None
        self._clock_s = 0.0
        self._looked_s = time.monotonic()
        self._context: zmq.SyncContext = zmq.Context()
        self._replay = ReplayClient(self._context, own.secure if own else None)
        self._socket: zmq.SyncSocket = self._context.socket(zmq.SUB)
        try:
            self._connect(names, kinds, own)
            if replay is not None:
                self._replay.connect(replay)
        except StreamError:
            self.close()
            raise

    def _connect(self, names: Sequence[str] | None, kinds: Sequence[str], own: ClientKeys | None) -> None:
        self._socket.setsockopt(zmq.RCVHWM, _HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IPV6, int("[" in self._address))
        if own is not None:
            own.secure(self._socket)
        self._admission = Admission(self._socket, self._address, with_key=own is not None)
        for camera in [None] if names is None else names:
            # the heartbeat is always heard: it shows losses in silence
            for kind in {*kinds, "status"}:
                self._socket.setsockopt(zmq.SUBSCRIBE, topic(camera, kind) if camera else b"vidpipe/1/")
        try:
            self._socket.connect(self._address)
        except zmq.ZMQError as error:
            raise StreamError(f"{self._address} is no address to connect to: write {DEFAULT_ADDRESS}") from error

    @property
    def refused(self) -> str:
        """Why the publisher does not let this subscriber in, which a warning in the log tells as well; else empty."""
        return self._admission.refused

    @property
    def missed(self) -> int:
        """Messages that were published and could not be had."""
        return self._order.missed

    @property
    def repaired(self) -> int:
        """Messages that got lost on the way and came by replay."""
        return self._order.repaired

    @property
    def duplicates(self) -> int:
        """Messages that came twice, and were given out once."""
        return self._order.duplicates

    @property
    def stale(self) -> int:
        """Messages that were not given out, since a publisher that began later was heard."""
        return self._order.stale

    @property
    def positions(self) -> dict[tuple[str, str], Position]:
        """Place `(epoch, seq)` of the last message given out, by camera and kind: `since` of the next subscriber."""
        first = {}
        for item in reversed(self._order.out):
            kind, seq = (item.kind, item.first_seq) if isinstance(item, Gap) else (KINDS[type(item)], item.seq)
            first[item.camera, kind] = (item.epoch, seq - 1)
        return self._order.positions | {lane: place for lane, place in first.items() if lane[1] != "status"}

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message of the wanted kinds, or None when `timeout_s` seconds passed without one."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            message = self._give_out()
            if message is not None:
                return message
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            if not self._turn(left_s) and left_s == 0:
                return None

    def _give_out(self) -> Message | None:
        out = self._order.out
        while out:
            item = out.popleft()
            if not isinstance(item, Gap):
                return item
            if self._on_gap is not None:
                self._on_gap(item)
        return None

    def _turn(self, wait_s: float | None) -> bool:
        """Ask what is to be asked, wait for what comes, take it in. False where nothing came."""
        now_s = self._now_s()
        self._ask(now_s)
        full = self._order.held >= _MOST_HELD
        came = self._poller(full=full).poll(self._wait_ms(wait_s, now_s))
        now_s = self._now_s()
        self._admission.look()
        self._hear_replay(now_s)
        if not full:
            self._hear_live(now_s)
        if self._joiner is not None and self._joiner.is_over(now_s):
            self._begin(now_s)
        # after all answers were read: whoever was stopped meanwhile gives nothing up for it
        self._order.expire(now_s)
        return bool(came)

    def _wait_ms(self, wait_s: float | None, now_s: float) -> int | None:
        due_s = self._order.due_s if self._joiner is None else self._joiner.due_s
        if due_s is not None:
            wait_s = max(0.0, due_s - now_s) if wait_s is None else min(wait_s, max(0.0, due_s - now_s))
        # upwards: to look a moment too early is to look twice
        return None if wait_s is None else math.ceil(wait_s * 1e3)

    def _poller(self, *, full: bool) -> zmq.Poller:
        """Both sockets and the monitor; while too much is held back, what is live waits in ZeroMQ's queue."""
        poller = zmq.Poller()
        poller.register(self._admission.monitor, zmq.POLLIN)
        if not full:
            poller.register(self._socket, zmq.POLLIN)
        if self._replay.socket is not None:
            poller.register(self._replay.socket, zmq.POLLIN)
        return poller

    def _now_s(self) -> float:
        """A clock of the time that we looked: while the caller was busy or stopped, nobody was too slow for us."""
        now_s = time.monotonic()
        self._clock_s += min(now_s - self._looked_s, _LONGEST_TURN_S)
        self._looked_s = now_s
        return self._clock_s

    def _ask(self, now_s: float) -> None:
        if self._joiner is not None:
            request = self._joiner.request(now_s)
            if request is not None and not self._replay.ask(request):
                self._joiner.not_sent(now_s)
            return
        for repair in self._order.requests(now_s):
            if not self._replay.ask(repair):
                self._order.not_sent(repair, now_s)

    def _hear_replay(self, now_s: float) -> None:
        for answer, bodies in self._replay.answers():
            messages = [message for message in map(self._decoded, bodies) if message is not None]
            if not isinstance(answer, LastAnswer):
                self._order.answer(answer, messages, now_s)
            if self._joiner is not None:
                self._joiner.answer(answer, messages, now_s)

    def _hear_live(self, now_s: float) -> None:
        for _ in range(_HIGH_WATER_MARK if self._latest else _READ_AT_ONCE):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            message = self._decoded(frames[-1]) if frames[0].split(b"/")[3:4] in _KNOWN_KINDS else None
            if message is not None:
                self._hear(message, now_s)
        if self._latest:
            self._keep_newest()

    def _hear(self, message: Message, now_s: float) -> None:
        self._check_age(message)
        if isinstance(message, Status):
            self._learn_replay(message)
        if self._joiner is not None:
            self._joiner.hear(message)
            return
        known = self._order.stale
        self._order.hear(message, now_s)
        if self._order.stale > known == 0:
            _log.warning(
                "what %s publishes of %s is not believed: its epoch %d is lower than one heard before. Two publishers "
                "run there, or one has lost its state folder while its clock is behind",
                self._address,
                message.camera,
                message.epoch,
            )

    def _begin(self, now_s: float) -> None:
        assert self._joiner is not None
        joiner, self._joiner = self._joiner, None
        for message in joiner.messages():
            self._order.hear(message, now_s)

    def _decoded(self, body: bytes) -> Message | None:
        try:
            return decode(body)
        except StreamError:
            self.damaged += 1
            return None

    def _learn_replay(self, status: Status) -> None:
        """Ask where the newest publisher says; where it says nothing, nobody can be asked."""
        if not self._repair or self._fixed_replay:
            return
        address = resolve(status.replay, self._address) if status.replay else ""
        if address and address != self._replay.address:
            try:
                self._replay.connect(address)
            except StreamError as error:
                _log.warning("what is missed is not asked for: %s", error)
        self._order.repairing = bool(address) and self._replay.socket is not None

    def _check_age(self, message: Message) -> None:
        age_s = (time.time_ns() - message.published_at) / 1e9
        if self._max_age_s is None or age_s <= self._max_age_s:
            return
        if not self.late:
            _log.warning("messages from %s are %.1f s old when they are read: we are too slow", self._address, age_s)
        self.late += 1

    def _keep_newest(self) -> None:
        out = self._order.out
        newest = {(item.camera, KINDS[type(item)]): item for item in out if not isinstance(item, Gap)}
        kept = [item for item in out if isinstance(item, Gap) or newest[item.camera, KINDS[type(item)]] is item]
        out.clear()
        out.extend(kept)

    def __iter__(self) -> Iterator[Message]:
        while True:
            message = self.receive()
            if message is not None:
                yield message

    def close(self) -> None:
        """Let go of the connection."""
        self._replay.close()
        self._context.destroy(linger=0)

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
