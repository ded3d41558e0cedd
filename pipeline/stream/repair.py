"""What a subscriber does about holes: it asks the publisher's replay, and puts answers and live messages into order."""

from __future__ import annotations

import logging
from collections.abc import Callable

from engines.errors import StreamError
from pipeline.stream.continuity import StreamOrder
from pipeline.stream.late_joiner import LateJoiner
from pipeline.stream.messages import Message, Status
from pipeline.stream.replay_client import ReplayClient, resolve
from pipeline.stream.replay_protocol import LastAnswer

_log = logging.getLogger(__name__)


class Repair:
    """Between what arrives and the order it comes out in; at first between it and the last values, if asked for.

    Args:
        order: gives messages out, and knows what is missing.
        joiner: where the last values are to come first.
        client: asks the replay; `connect` is called by `learn`.
        publisher: the publisher's address.
        wanted: whether to ask where a publisher says that it can be asked.
        decoded: reads a replayed body; None where it cannot be read.
    """

    def __init__(
        self,
        order: StreamOrder,
        joiner: LateJoiner | None,
        client: ReplayClient,
        publisher: str,
        *,
        wanted: bool,
        decoded: Callable[[bytes], Message | None],
    ) -> None:
        self._order, self._joiner, self._client = order, joiner, client
        self._publisher = publisher
        self._wanted = wanted
        self._decoded = decoded

    @property
    def due_s(self) -> float | None:
        """When there is something to do next; None: when something was heard."""
        return self._order.due_s if self._joiner is None else self._joiner.due_s

    def ask(self, now_s: float) -> None:
        """Ask what is to be asked now."""
        if self._joiner is not None:
            request = self._joiner.request(now_s)
            if request is not None and not self._client.ask(request):
                self._joiner.not_sent(now_s)
            return
        for repair in self._order.requests(now_s):
            if not self._client.ask(repair):
                self._order.not_sent(repair, now_s)

    def hear_answers(self, now_s: float) -> None:
        """Take in what the replay has answered."""
        for answer, bodies in self._client.answers():
            messages = [message for message in map(self._decoded, bodies) if message is not None]
            if not isinstance(answer, LastAnswer):
                self._order.answer(answer, messages, now_s)
            if self._joiner is not None:
                self._joiner.answer(answer, messages, now_s)

    def hear(self, message: Message, now_s: float) -> None:
        """Take in a live message."""
        if isinstance(message, Status) and self._wanted:
            self._learn(message)
        if self._joiner is not None:
            self._joiner.hear(message)
            return
        known = self._order.stale
        self._order.hear(message, now_s)
        if self._order.stale > known == 0:
            _log.warning(
                "what %s publishes of %s is not believed: its epoch %d is lower than one heard before. Two publishers "
                "run there, or one has lost its state folder while its clock is behind",
                self._publisher,
                message.camera,
                message.epoch,
            )

    def end_turn(self, now_s: float) -> None:
        """Once all that has come was heard: give up what nobody has answered in time."""
        if self._joiner is not None and self._joiner.is_over(now_s):
            joiner, self._joiner = self._joiner, None
            for message in joiner.messages():
                self._order.hear(message, now_s)
        # after all answers were read: whoever was stopped meanwhile gives nothing up for it
        self._order.expire(now_s)

    def _learn(self, status: Status) -> None:
        """Ask where the newest publisher says; where it says nothing, nobody can be asked."""
        address = resolve(status.replay, self._publisher) if status.replay else ""
        if address and address != self._client.address:
            try:
                self._client.connect(address)
            except StreamError as error:
                _log.warning("what is missed is not asked for: %s", error)
        self._order.repairing = bool(address) and self._client.socket is not None
