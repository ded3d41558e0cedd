"""One camera's messages of one kind, put back into order: what follows is given out, what came too early is held."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.stream.messages import Message
from pipeline.stream.replay_protocol import LostSpan

Position = tuple[int, int]
"""Epoch and number: the place of a message among all of its camera and kind."""


@dataclass(frozen=True)
class Gap:
    """Messages `first_seq` to `last_seq` of one camera and kind that were published and could not be had.

    `reason` is `expired`, `missing` (the journal never had them), `unknown`, `refused`, `no answer` or `no replay`.
    With `open_end` the publisher was killed or did not answer, and nobody knows what was published after `last_seq` up
    to the next message; it may be nothing, and `count` is 0.
    """

    camera: str
    kind: str
    epoch: int
    first_seq: int
    last_seq: int
    reason: str = ""
    open_end: bool = False

    @property
    def count(self) -> int:
        """How many messages are known to be missing."""
        return self.last_seq - self.first_seq + 1


class Lane:
    """`position` is the last place that was given out or given up; None before the first message.

    Messages and the news that there are some (a heartbeat names the last) are offered in any order.
    """

    def __init__(self, camera: str, kind: str, position: Position | None = None) -> None:
        self.camera = camera
        self.kind = kind
        self.position = position
        self._held: dict[Position, Message | None] = {}
        self._order: list[Position] = []

    def __len__(self) -> int:
        """How many messages are held back."""
        return len(self._held)

    def offer(self, position: Position, message: Message | None) -> bool:
        """Take a message, or (None) the news that all up to there have been published. False: we had it."""
        if self.position is not None and position <= self.position:
            return False
        if self._held.get(position) is not None:
            return False
        if position not in self._held:
            heapq.heappush(self._order, position)
        self._held[position] = message
        return True

    def ready(self) -> Iterator[Message]:
        """What follows without a hole; the first ever is where the lane begins."""
        while self._order and self._follows(self._order[0]):
            position = heapq.heappop(self._order)
            message = self._held.pop(position)
            if self.position is None or position > self.position:
                self.position = position
                if message is not None:
                    yield message

    def _follows(self, position: Position) -> bool:
        if self.position is None or position <= self.position:
            return True
        epoch, seq = self.position
        return position == (epoch, seq + 1) and self._held[position] is not None

    def hole(self) -> Position | None:
        """The last place of the hole before the first message held; None where nothing is held."""
        if not self._order:
            return None
        epoch, seq = self._order[0]
        return (epoch, seq) if self._held[epoch, seq] is None else (epoch, seq - 1)

    def fill(self, messages: Sequence[Message], lost: Sequence[LostSpan], through: Position) -> Iterator[Message | Gap]:
        """Replayed messages and what is lost between them, which together say all up to and with `through`."""
        news: list[tuple[Position, Message | LostSpan]] = [((m.epoch, m.seq), m) for m in messages]
        news += [((span.epoch, span.first_seq), span) for span in lost]
        for position, item in sorted(news, key=lambda pair: pair[0]):
            if isinstance(item, LostSpan):
                yield from self._lose(item, through)
            elif self.position is None or self.position < position <= through:
                yield from self._pass(position[0], position[1] - 1, "missing")
                self.position = position
                yield item
        yield from self._pass(*through, "missing")

    def _lose(self, span: LostSpan, through: Position) -> Iterator[Gap]:
        if (span.epoch, span.last_seq) > through:
            return
        yield from self._pass(span.epoch, span.last_seq, span.reason)
        if span.open_end:
            yield Gap(self.camera, self.kind, span.epoch, span.last_seq + 1, span.last_seq, span.reason, open_end=True)

    def give_up(self, reason: str) -> Iterator[Gap]:
        """Go on behind the hole; of what an earlier publisher had said after our place nobody knows the end."""
        through = self.hole()
        if through is None or self.position is None:
            return
        epoch, seq = self.position
        if through[0] > epoch:
            yield Gap(self.camera, self.kind, epoch, seq + 1, seq, reason, open_end=True)
        yield from self._pass(*through, reason)

    def _pass(self, epoch: int, seq: int, reason: str) -> Iterator[Gap]:
        """Move to a place; what is skipped of its epoch is a gap."""
        if self.position is not None and (epoch, seq) <= self.position:
            return
        before = self.position[1] if self.position is not None and self.position[0] == epoch else 0
        self.position = (epoch, seq)
        if seq > before:
            yield Gap(self.camera, self.kind, epoch, before + 1, seq, reason)
