"""The subscriber: predictions as an iterator, with every loss reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import zmq

from engines.errors import StreamError
from pipeline.keys.client import ClientKeys
from pipeline.stream.continuity import Gap, SequenceCheck
from pipeline.stream.messages import KINDS, MAX_MESSAGE_BYTES, TYPES, Message, decode, topic

if TYPE_CHECKING:
    import os
    from types import TracebackType

DEFAULT_ADDRESS = "tcp://127.0.0.1:5555"
_HIGH_WATER_MARK = 10_000
_KNOWN_KINDS = [[kind.encode()] for kind in TYPES]


class Subscriber:
    """Receives a publisher's messages, in order and without doubles.

    Iterating never ends by itself: it yields messages as they come, and reconnects when the publisher was away. Losses
    are handed to `on_gap` and counted in `missed`. One thread at a time.

    Args:
        address: where the publisher is bound; else what the key file says, else `tcp://127.0.0.1:5555`.
        cameras: name or names of the cameras to hear, or None for all.
        kinds: which of `clip` (Prediction), `event` (Event) and `status` (Status) to yield.
        on_gap: called with each `Gap` before the message that showed it.
        keys: the key file that `vidpipe keys new` wrote, for a publisher with keys.

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
    ) -> None:
        unknown = [kind for kind in kinds if kind not in TYPES]
        if unknown or not kinds:
            raise StreamError(f"kinds is {list(kinds)}; allowed are {', '.join(TYPES)}")
        names = [cameras] if isinstance(cameras, str) else cameras
        if names is not None and not names:
            raise StreamError("cameras is empty: name at least one camera, or leave it out to hear all")
        own = None if keys is None else ClientKeys.load(keys)
        address = address or (own.address if own else "") or DEFAULT_ADDRESS
        self.missed = 0
        self.damaged = 0
        self._kinds = frozenset(kinds)
        self._on_gap = on_gap
        self._check = SequenceCheck()
        self._context: zmq.SyncContext = zmq.Context()
        self._socket: zmq.SyncSocket = self._context.socket(zmq.SUB)
        self._configure(self._socket)
        self._socket.setsockopt(zmq.IPV6, int("[" in address))
        if own is not None:
            own.secure(self._socket)
        for camera in [None] if names is None else names:
            # the heartbeat is always heard: it shows losses in silence
            for kind in {*kinds, "status"}:
                self._socket.setsockopt(zmq.SUBSCRIBE, topic(camera, kind) if camera else b"vidpipe/1/")
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise StreamError(f"{address} is no address to connect to: write tcp://127.0.0.1:5555") from error

    @staticmethod
    def _configure(socket: zmq.SyncSocket) -> None:
        socket.setsockopt(zmq.RCVHWM, _HIGH_WATER_MARK)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        socket.setsockopt(zmq.LINGER, 0)

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message of the wanted kinds, or None when `timeout_s` seconds passed without one."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_ms = None if deadline_s is None else max(0, round((deadline_s - time.monotonic()) * 1e3))
            if not self._socket.poll(left_ms):
                return None
            message = self._next()
            if message is not None and KINDS[type(message)] in self._kinds:
                return message

    def _next(self) -> Message | None:
        """Read one message; None where it is broken, old, or a copy."""
        frames = self._socket.recv_multipart()
        if frames[0].split(b"/")[3:4] not in _KNOWN_KINDS:
            return None  # a kind that was invented later
        try:
            message = decode(frames[-1])
        except StreamError:
            self.damaged += 1
            return None
        fresh, gaps = self._check.admit(message)
        for gap in gaps:
            if gap.kind in self._kinds:
                self._report(gap)
        return message if fresh else None

    def _report(self, gap: Gap) -> None:
        self.missed += gap.count
        if self._on_gap is not None:
            self._on_gap(gap)

    def __iter__(self) -> Iterator[Message]:
        while True:
            message = self.receive()
            if message is not None:
                yield message

    def close(self) -> None:
        """Let go of the connection."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
