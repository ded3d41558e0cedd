"""The subscriber: predictions as an iterator, in order, with what got lost on the way asked for again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import zmq

from engines.errors import StreamError
from pipeline.keys.client import ClientKeys
from pipeline.stream.attention import AttentiveClock
from pipeline.stream.continuity import Gap, StreamOrder
from pipeline.stream.lane import Position
from pipeline.stream.late_joiner import LateJoiner
from pipeline.stream.live_feed import DEFAULT_ADDRESS, HIGH_WATER_MARK, LiveFeed, wanted_topics
from pipeline.stream.messages import KINDS, TYPES, Message
from pipeline.stream.repair import Repair
from pipeline.stream.replay_client import ReplayClient

if TYPE_CHECKING:
    import os
    from types import TracebackType

_READ_AT_ONCE = 64
_MOST_HELD = 10_000


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
        address = address or (own.address if own else "") or DEFAULT_ADDRESS
        self._on_gap = on_gap
        self._latest = latest
        self._clock = AttentiveClock()
        repair = repair and not latest
        self._order = StreamOrder(kinds, timeout_s=repair_timeout_s, repairing=repair, after=since)
        joiner = LateJoiner(names, kinds, repair_timeout_s) if last else None
        self._context: zmq.SyncContext = zmq.Context()
        self._replay = ReplayClient(self._context, own.secure if own else None)
        try:
            self._feed = LiveFeed(self._context, address, wanted_topics(names, kinds), own, max_age_s)
            if replay is not None:
                self._replay.connect(replay)
        except StreamError:
            self.close()
            raise
        wanted = repair and replay is None
        self._repair = Repair(self._order, joiner, self._replay, address, wanted=wanted, decoded=self._feed.decoded)

    @property
    def refused(self) -> str:
        """Why the publisher does not let this subscriber in, which a warning in the log tells as well; else empty."""
        return self._feed.admission.refused

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
    def damaged(self) -> int:
        """Messages that could not be read."""
        return self._feed.damaged

    @property
    def late(self) -> int:
        """Messages that were older than `max_age_s` when they were read."""
        return self._feed.late

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
        now_s = self._clock.now_s()
        self._repair.ask(now_s)
        full = self._order.held >= _MOST_HELD
        came = self._poller(full=full).poll(self._wait_ms(wait_s, now_s))
        now_s = self._clock.now_s()
        self._feed.admission.look()
        self._repair.hear_answers(now_s)
        if not full:
            for message in self._feed.read(HIGH_WATER_MARK if self._latest else _READ_AT_ONCE):
                self._repair.hear(message, now_s)
        if self._latest:
            self._keep_newest()
        self._repair.end_turn(now_s)
        return bool(came)

    def _wait_ms(self, wait_s: float | None, now_s: float) -> int | None:
        due_s = self._repair.due_s
        if due_s is not None:
            wait_s = max(0.0, due_s - now_s) if wait_s is None else min(wait_s, max(0.0, due_s - now_s))
        # upwards: to look a moment too early is to look twice
        return None if wait_s is None else math.ceil(wait_s * 1e3)

    def _poller(self, *, full: bool) -> zmq.Poller:
        """Both sockets and the monitor; while too much is held back, what is live waits in ZeroMQ's queue."""
        poller = zmq.Poller()
        poller.register(self._feed.admission.monitor, zmq.POLLIN)
        if not full:
            poller.register(self._feed.socket, zmq.POLLIN)
        if self._replay.socket is not None:
            poller.register(self._replay.socket, zmq.POLLIN)
        return poller

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
