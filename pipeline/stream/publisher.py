"""The publisher: numbers messages and sends them over a ZeroMQ socket that never waits for a subscriber."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from pipeline.stream.door import MOST_CONNECTIONS
from pipeline.stream.messages import KINDS, Message, Status, encode, topic
from pipeline.stream.outlet import Outlet

if TYPE_CHECKING:
    from types import TracebackType

    from pipeline.keys.server import ServerKeys

M = TypeVar("M", bound=Message)
# camera, kind, epoch, seq, published_at in ns, body
Sink = Callable[[str, str, int, int, int, bytes], None]


class Publisher:
    """Binds one address and sends `[topic][body]`. Used from one thread.

    `sink` is handed each message just before it is sent, so that whoever hears of it can ask for it; `replay` is what
    the status messages say of where that is.

    Raises:
        StreamError: the address is taken, cannot be bound, or is open to others without `keys` or `insecure`.
    """

    def __init__(
        self,
        bind: str,
        *,
        epoch: int,
        wire: Literal["msgpack", "json"] = "msgpack",
        insecure: bool = False,
        keys: ServerKeys | None = None,
        sink: Sink | None = None,
        replay: str = "",
        most: int = MOST_CONNECTIONS,
    ) -> None:
        self.epoch = epoch
        self._wire = wire
        self.sink = sink
        self._replay = replay
        self._sequence: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._outlet = Outlet(bind, keys=keys, insecure=insecure, most=most)
        self.address = self._outlet.address

    @property
    def subscribers(self) -> int:
        """How many connections there are."""
        return self._outlet.subscribers

    @property
    def auth_failures(self) -> int:
        """Connections that were refused so far."""
        return self._outlet.auth_failures

    @property
    def sent_away(self) -> int:
        """Connections that had to leave so far, since there were too many or they asked for too much."""
        return self._outlet.sent_away

    @property
    def alarm(self) -> str:
        """One sentence while connections have to leave; else empty."""
        return self._outlet.alarm

    def attend(self) -> None:
        """Take in subscriptions; microseconds where none came. `publish` does it too."""
        self._outlet.attend()

    def look(self) -> None:
        """The chore of every second: keys read again, revoked clients cut off."""
        self._outlet.look()

    def publish(self, message: M) -> M:
        """Number, stamp and send a message, and return it as sent. Never blocks: a full queue drops (PUB by design)."""
        kind = KINDS[type(message)]
        self._sequence[message.camera, kind] += 1
        sent = msgspec.structs.replace(
            message,
            epoch=self.epoch,
            seq=self._sequence[message.camera, kind],
            published_at=time.time_ns(),
            **self._last_of_each(message),
        )
        body = encode(sent, self._wire)
        if self.sink is not None:
            self.sink(sent.camera, kind, sent.epoch, sent.seq, sent.published_at, body)
        self._outlet.send([topic(message.camera, kind), body])
        return sent

    def _last_of_each(self, message: Message) -> dict[str, dict[str, int] | str]:
        if not isinstance(message, Status):
            return {}
        last = {kind: self._sequence[message.camera, kind] for kind in ("clip", "event")}
        return {"last_seq": last, "replay": self._replay}

    def close(self) -> None:
        """Send what is queued (half a second at most) and let go of the address."""
        self._outlet.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
