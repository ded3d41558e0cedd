"""A stream put back into order: copies and old publishers ignored, holes found, asked for, filled or reported.

No sockets and no clock of its own: messages, answers and the time come in, messages, gaps and requests go out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.stream.lane import Gap, Lane, Position
from pipeline.stream.messages import KINDS, Message, Status
from pipeline.stream.replay_protocol import RangeAnswer, RangeRequest, Refusal

__all__ = ["Gap", "StreamOrder"]

_ASK_AGAIN_S = 0.5
_NO_CONNECTION_S = 0.1


@dataclass
class _Repair:
    """A hole that was asked about: by which request, when to ask again, and when to give up."""

    id: int
    deadline_s: float
    ask_s: float


class StreamOrder:
    """Follows every camera and kind that is wanted; messages and gaps come out of `out`, in order of each.

    Heartbeats only have to be the newest: no hole between them is ever repaired or reported. With `repairing` false a
    hole is a gap at once.

    Args:
        kinds: which kinds to give out, and to miss.
        timeout_s: how long a hole may wait for an answer; each part of an answer begins it anew.
        after: places after which to begin, by camera and kind, instead of with the first that is heard.
    """

    def __init__(
        self,
        kinds: Iterable[str],
        *,
        timeout_s: float = 2.0,
        repairing: bool = True,
        after: Mapping[tuple[str, str], Position] | None = None,
    ) -> None:
        self.out: deque[Message | Gap] = deque()
        self.missed = self.repaired = self.duplicates = self.stale = 0
        self.repairing = repairing
        self._kinds = frozenset(kinds)
        self._timeout_s = timeout_s
        self._lanes = {lane: Lane(*lane, position) for lane, position in (after or {}).items()}
        self._status: dict[str, Position] = {}
        self._epochs: dict[str, int] = {}
        for (camera, _), (epoch, _) in (after or {}).items():
            self._epochs[camera] = max(self._epochs.get(camera, 0), epoch)
        self._repairs: dict[tuple[str, str], _Repair] = {}
        self._last_id = 0

    @property
    def held(self) -> int:
        """How many messages wait for a hole before them to be filled."""
        return sum(len(self._lanes[lane]) for lane in self._repairs)

    @property
    def positions(self) -> dict[tuple[str, str], Position]:
        """The last place of each camera and kind that came out or was given up."""
        return {key: lane.position for key, lane in self._lanes.items() if lane.position is not None}

    def hear(self, message: Message, now_s: float) -> None:
        """Take in a message as it was published."""
        kind = KINDS[type(message)]
        if kind not in self._kinds and kind != "status":
            return
        if message.epoch < self._epochs.get(message.camera, 0):
            self.stale += 1
            return
        if message.epoch > self._epochs.get(message.camera, 0):
            self._begin(message)
        if isinstance(message, Status):
            self._hear_status(message, now_s)
        elif self._lane(message.camera, kind).offer((message.epoch, message.seq), message):
            self._advance((message.camera, kind), now_s)
        else:
            self.duplicates += 1

    def _hear_status(self, message: Status, now_s: float) -> None:
        position = (message.epoch, message.seq)
        if position <= self._status.get(message.camera, (-1, 0)):
            self.duplicates += 1
            return
        self._status[message.camera] = position
        for kind, seq in message.last_seq.items():
            lane = (message.camera, kind)
            if kind in self._kinds and self._lane(*lane).offer((message.epoch, seq), None):
                self._advance(lane, now_s)
        if "status" in self._kinds:
            self.out.append(message)

    def _begin(self, message: Message) -> None:
        """A new publisher: after another one we should have had all of its messages, else those from now on."""
        if message.camera in self._epochs:
            for kind in self._kinds - {"status"}:
                lane = self._lane(message.camera, kind)
                lane.position = lane.position or (message.epoch, 0)
        self._epochs[message.camera] = message.epoch

    def _lane(self, camera: str, kind: str) -> Lane:
        lane = self._lanes.get((camera, kind))
        if lane is None:
            lane = self._lanes[camera, kind] = Lane(camera, kind)
        return lane

    def _advance(self, key: tuple[str, str], now_s: float) -> None:
        """Give out what follows; a hole is asked about, or given up where nobody can be asked."""
        lane = self._lanes[key]
        self.out.extend(lane.ready())
        while not self.repairing and lane.hole() is not None:
            self._give_up(lane, "no replay")
        if lane.hole() is None:
            self._repairs.pop(key, None)
        elif key not in self._repairs:
            self._last_id += 1
            self._repairs[key] = _Repair(self._last_id, now_s + self._timeout_s, now_s)

    def _give_up(self, lane: Lane, reason: str) -> None:
        for gap in lane.give_up(reason):
            self._report(gap)
        self.out.extend(lane.ready())

    def _report(self, gap: Gap) -> None:
        self.missed += gap.count
        self.out.append(gap)

    @property
    def due_s(self) -> float | None:
        """When `requests` or `expire` have something to do next; None: when something was heard."""
        return min((min(repair.ask_s, repair.deadline_s) for repair in self._repairs.values()), default=None)

    def requests(self, now_s: float) -> Iterator[RangeRequest]:
        """What to ask now; without an answer it comes again after half a second, under the same number."""
        for key, repair in self._repairs.items():
            lane = self._lanes[key]
            if repair.ask_s <= now_s and lane.position is not None:
                repair.ask_s = now_s + _ASK_AGAIN_S
                yield RangeRequest(
                    id=repair.id, camera=lane.camera, kind=lane.kind, after=lane.position, through=lane.hole()
                )

    def not_sent(self, request: RangeRequest, now_s: float) -> None:
        """Note that there was nobody to send a request to."""
        self._repairs[request.camera, request.kind].ask_s = now_s + _NO_CONNECTION_S

    def answer(self, answer: RangeAnswer | Refusal, messages: Sequence[Message], now_s: float) -> None:
        """Take in an answer; one that nobody waits for any more is ignored."""
        key = next((key for key, repair in self._repairs.items() if repair.id == answer.id), None)
        if key is None:
            return
        if isinstance(answer, Refusal):
            self._refused(key, answer, now_s)
            return
        lane, before = self._lanes[key], self._lanes[key].position
        own = [m for m in messages if (m.camera, KINDS[type(m)]) == key]
        for item in lane.fill(own, answer.lost, min(answer.through, lane.hole() or answer.through)):
            if isinstance(item, Gap):
                self._report(item)
            else:
                self.repaired += 1
                self.out.append(item)
        if lane.position == before:
            self._repairs[key].ask_s = now_s + _ASK_AGAIN_S
            return
        del self._repairs[key]
        self._advance(key, now_s)

    def _refused(self, key: tuple[str, str], answer: Refusal, now_s: float) -> None:
        repair = self._repairs[key]
        if answer.retry_after_s <= 0:
            self._end(key, "refused", now_s)
            return
        repair.ask_s = now_s + answer.retry_after_s
        if answer.busy:
            repair.deadline_s = max(repair.deadline_s, repair.ask_s + self._timeout_s)

    def expire(self, now_s: float) -> None:
        """Give up the holes that nobody has said anything about in time."""
        for key in [key for key, repair in self._repairs.items() if repair.deadline_s <= now_s or not self.repairing]:
            self._end(key, "no answer" if self.repairing else "no replay", now_s)

    def _end(self, key: tuple[str, str], reason: str, now_s: float) -> None:
        del self._repairs[key]
        self._give_up(self._lanes[key], reason)
        self._advance(key, now_s)
