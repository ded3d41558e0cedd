"""The publisher: numbers messages and sends them over a ZeroMQ PUB socket, which never waits for a subscriber."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
import zmq

from engines.errors import StreamError
from pipeline.stream.address import ipc_in_use, is_local
from pipeline.stream.messages import KINDS, Message, Status, encode, topic

if TYPE_CHECKING:
    from types import TracebackType

_HIGH_WATER_MARK = 1000
_LINGER_MS = 500

M = TypeVar("M", bound=Message)
# camera, kind, epoch, seq, published_at in ns, body
Sink = Callable[[str, str, int, int, int, bytes], None]


class Publisher:
    """Binds one address and sends `[topic][body]`. Used from one thread.

    `sink` is handed each message just before it is sent, so that whoever hears of it can ask for it; `replay` is what
    the status messages say of where that is.

    Raises:
        StreamError: the address is taken, cannot be bound, or is open to others without `insecure`.
    """

    def __init__(
        self,
        bind: str,
        *,
        epoch: int,
        wire: Literal["msgpack", "json"] = "msgpack",
        insecure: bool = False,
        sink: Sink | None = None,
        replay: str = "",
    ) -> None:
        if not is_local(bind) and not insecure:
            raise StreamError(
                f"publish.bind is {bind}, which other machines can reach, and this version has no keys yet: "
                "bind tcp://127.0.0.1:5555, or type --insecure if anyone on that network may read the predictions"
            )
        self.epoch = epoch
        self._wire = wire
        self._sink = sink
        self._replay = replay
        self._sequence: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._context: zmq.SyncContext = zmq.Context()
        self._socket: zmq.SyncSocket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        self._socket.setsockopt(zmq.IPV6, int("[" in bind))
        try:
            if ipc_in_use(bind):
                raise zmq.ZMQError(zmq.EADDRINUSE)
            self._socket.bind(bind)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise StreamError(_why_not(bind, error)) from error
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

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
        if self._sink is not None:
            self._sink(sent.camera, kind, sent.epoch, sent.seq, sent.published_at, body)
        self._socket.send_multipart([topic(message.camera, kind), body], zmq.NOBLOCK)
        return sent

    def _last_of_each(self, message: Message) -> dict[str, dict[str, int] | str]:
        if not isinstance(message, Status):
            return {}
        last = {kind: self._sequence[message.camera, kind] for kind in ("clip", "event")}
        return {"last_seq": last, "replay": self._replay}

    def close(self) -> None:
        """Send what is queued (half a second at most) and let go of the address."""
        self._context.destroy(linger=_LINGER_MS)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _why_not(bind: str, error: zmq.ZMQError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"publish.bind {bind} is already in use: stop the other program or choose another port"
    return f"publish.bind {bind} cannot be bound ({zmq.strerror(error.errno or 0)}): write tcp://127.0.0.1:5555"
