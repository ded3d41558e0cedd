"""What a subscriber missed: sequence numbers checked per camera and kind, old publishers ignored."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.stream.messages import KINDS, Message, Status


@dataclass(frozen=True)
class Gap:
    """Messages `first_seq` to `last_seq` of one camera and kind that were published and never arrived."""

    camera: str
    kind: str
    epoch: int
    first_seq: int
    last_seq: int

    @property
    def count(self) -> int:
        """How many messages are missing."""
        return self.last_seq - self.first_seq + 1


class SequenceCheck:
    """Follows the numbers of a stream; a heartbeat tells of losses even where nothing else comes."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}
        self._last: dict[tuple[str, str], int] = {}

    def admit(self, message: Message) -> tuple[bool, list[Gap]]:
        """Whether the message is new (not of an older publisher, not a copy), and the gaps that it shows."""
        known = self._epochs.get(message.camera, -1)
        if message.epoch < known:
            return False, []
        if message.epoch > known:
            self._begin(message)
        kind = KINDS[type(message)]
        last = self._last.get((message.camera, kind))
        if last is not None and message.seq <= last:
            return False, []
        gaps = self._advance(message, kind, message.seq - 1) if kind != "status" else []
        self._last[message.camera, kind] = message.seq
        if isinstance(message, Status):
            gaps = [gap for kind, seq in message.last_seq.items() for gap in self._advance(message, kind, seq)]
        return True, gaps

    def _begin(self, message: Message) -> None:
        """A new publisher: after another one we should have had all of its messages, else those from now on."""
        restarted = message.camera in self._epochs
        self._epochs[message.camera] = message.epoch
        self._last = {key: seq for key, seq in self._last.items() if key[0] != message.camera}
        if restarted:
            self._last.update({(message.camera, kind): 0 for kind in ("clip", "event")})

    def _advance(self, message: Message, kind: str, up_to: int) -> list[Gap]:
        key = (message.camera, kind)
        last = self._last.setdefault(key, up_to)
        self._last[key] = max(last, up_to)
        return [Gap(message.camera, kind, message.epoch, last + 1, up_to)] if up_to > last else []
