"""A subscriber's first moments: the last value of each camera is asked for, and what comes meanwhile waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.stream.messages import KINDS, Message
from pipeline.stream.replay_protocol import Answer, LastAnswer, LastRequest, Refusal

_ASK_AGAIN_S = 0.5
_NO_CONNECTION_S = 0.1
_MOST_WAITING = 10_000
_FIRST_ID = 1 << 32  # other requests count from 1


class LateJoiner:
    """Subscribe first, then ask, then leave out what was heard twice: the Clone pattern.

    Source: ZeroMQ guide, chapter 5, "Getting an Out-of-Band Snapshot".
    """

    def __init__(self, cameras: Sequence[str] | None, kinds: Sequence[str], timeout_s: float) -> None:
        self._cameras = None if cameras is None else list(cameras)
        self._kinds = tuple(kinds)
        self._timeout_s = timeout_s
        self._deadline_s = timeout_s
        self._ask_s = 0.0
        self._id = _FIRST_ID
        self._after = ""
        self._over = False
        self._values: list[Message] = []
        self._waiting: list[Message] = []

    @property
    def due_s(self) -> float:
        """When there is something to do next, on a clock that began with us."""
        return min(self._deadline_s, self._ask_s)

    def request(self, now_s: float) -> LastRequest | None:
        """What to ask now; without an answer it comes again."""
        if now_s < self._ask_s:
            return None
        self._ask_s = now_s + _ASK_AGAIN_S
        return LastRequest(id=self._id, cameras=self._cameras, kinds=self._kinds, after=self._after)

    def not_sent(self, now_s: float) -> None:
        """Note that there was nobody to send the request to."""
        self._ask_s = now_s + _NO_CONNECTION_S

    def answer(self, answer: Answer, messages: Iterable[Message], now_s: float) -> None:
        """Take in an answer, in parts where it is long."""
        if answer.id != self._id:
            return
        if isinstance(answer, Refusal):
            self._ask_s = now_s + max(answer.retry_after_s, _NO_CONNECTION_S)
            self._over = answer.retry_after_s <= 0
        elif isinstance(answer, LastAnswer):
            self._values += messages
            self._id += 1
            self._after, self._ask_s, self._deadline_s = answer.next, now_s, now_s + self._timeout_s
            self._over = not answer.next

    def hear(self, message: Message) -> None:
        """Keep what came live until the answer is here."""
        self._waiting.append(message)

    def is_over(self, now_s: float) -> bool:
        """Whether all answers are here, or were waited for long enough."""
        return self._over or now_s >= self._deadline_s or len(self._waiting) >= _MOST_WAITING

    def messages(self) -> Iterable[Message]:
        """The last values, but those that came live too or are older than those; then what came live."""
        first: dict[tuple[str, str], tuple[int, int]] = {}
        for message in self._waiting:
            first.setdefault((message.camera, KINDS[type(message)]), (message.epoch, message.seq))
        # a heartbeat last: its numbers would call the other values old
        for value in sorted(self._values, key=lambda m: (m.epoch, KINDS[type(m)] == "status")):
            heard = first.get((value.camera, KINDS[type(value)]))
            if heard is None or (value.epoch, value.seq) < heard:
                yield value
        yield from self._waiting
