"""A publisher's live messages as they come: the SUB socket, whether it is let in, and what it could not read."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import zmq

from engines.errors import StreamError
from pipeline.stream.admission import Admission
from pipeline.stream.messages import MAX_MESSAGE_BYTES, TYPES, Message, decode, topic

if TYPE_CHECKING:
    from pipeline.keys.client import ClientKeys

_log = logging.getLogger(__name__)

DEFAULT_ADDRESS = "tcp://127.0.0.1:5555"
HIGH_WATER_MARK = 10_000
_KNOWN_KINDS = [[kind.encode()] for kind in TYPES]


def wanted_topics(cameras: Sequence[str] | None, kinds: Sequence[str]) -> list[bytes]:
    """What to subscribe to; heartbeats always, since they show losses in silence."""
    if cameras is None:
        return [b"vidpipe/1/"]
    return [topic(camera, kind) for camera in cameras for kind in {*kinds, "status"}]


class LiveFeed:
    """Connects to one publisher, and again when it was away. Used from one thread.

    Args:
        context: of the socket, which ends it.
        address: of the publisher.
        topics: to subscribe to.
        keys: for a publisher with keys.
        max_age_s: count in `late` each message that is older than this when it is read, and log when that begins.

    Raises:
        StreamError: that is no address.
    """

    def __init__(
        self,
        context: zmq.SyncContext,
        address: str,
        topics: Sequence[bytes],
        keys: ClientKeys | None,
        max_age_s: float | None = None,
    ) -> None:
        self.address = address
        self.damaged = 0
        self.late = 0
        self._max_age_s = max_age_s
        self.socket: zmq.SyncSocket = context.socket(zmq.SUB)
        self._configure()
        if keys is not None:
            keys.secure(self.socket)
        self.admission = Admission(self.socket, address, with_key=keys is not None)
        for each in topics:
            self.socket.setsockopt(zmq.SUBSCRIBE, each)
        try:
            self.socket.connect(address)
        except zmq.ZMQError as error:
            raise StreamError(f"{address} is no address to connect to: write {DEFAULT_ADDRESS}") from error

    def _configure(self) -> None:
        self.socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self.socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.IPV6, int("[" in self.address))

    def read(self, most: int) -> Iterator[Message]:
        """What has arrived, of up to `most` messages; what cannot be read is counted in `damaged`."""
        for _ in range(most):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            message = self.decoded(frames[-1]) if frames[0].split(b"/")[3:4] in _KNOWN_KINDS else None
            if message is not None:
                self._check_age(message)
                yield message

    def decoded(self, body: bytes) -> Message | None:
        """A message, from here or from the replay; None where it cannot be read."""
        try:
            return decode(body)
        except StreamError:
            self.damaged += 1
            return None

    def _check_age(self, message: Message) -> None:
        age_s = (time.time_ns() - message.published_at) / 1e9
        if self._max_age_s is None or age_s <= self._max_age_s:
            return
        if not self.late:
            _log.warning("messages from %s are %.1f s old when they are read: we are too slow", self.address, age_s)
        self.late += 1
