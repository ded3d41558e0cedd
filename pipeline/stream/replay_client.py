"""The asking side of the replay endpoint: a DEALER socket that never waits and is given up with its address."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import zmq

from engines.errors import StreamError
from pipeline.stream.messages import MAX_MESSAGE_BYTES
from pipeline.stream.replay_protocol import Answer, Request, decode_answer, encode

_SCHEMES = ("tcp://", "ipc://")


def resolve(announced: str, publisher: str) -> str:
    """The address of what a publisher announces, as seen from where the publisher was reached."""
    return publisher.rpartition(":")[0] + announced if announced.startswith(":") else announced


class ReplayClient:
    """Asks at one address at a time. Used from one thread.

    Args:
        context: of the socket.
        secure: gives the socket its keys before it connects.
    """

    def __init__(self, context: zmq.SyncContext, secure: Callable[[zmq.SyncSocket], None] | None = None) -> None:
        self._context = context
        self._secure = secure
        self.address = ""
        self.socket: zmq.SyncSocket | None = None

    def connect(self, address: str) -> None:
        """Ask there from now on; what was asked elsewhere stays without an answer.

        Raises:
            StreamError: that is no address.
        """
        self.close()
        self.address = address
        socket: zmq.SyncSocket = self._context.socket(zmq.DEALER)
        # a request waits in no queue: the order asks again
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, 2 * MAX_MESSAGE_BYTES)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, int("[" in address))
        if self._secure is not None:
            self._secure(socket)
        try:
            if not address.startswith(_SCHEMES):
                raise zmq.ZMQError(zmq.EINVAL)
            socket.connect(address)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise StreamError(f"replay is {address}, which is no address: write tcp://127.0.0.1:5556") from error
        self.socket = socket

    def ask(self, request: Request) -> bool:
        """Send a request; False where there is no connection."""
        if self.socket is None:
            return False
        try:
            self.socket.send(encode(request), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def answers(self) -> Iterator[tuple[Answer, list[bytes]]]:
        """The answers that have arrived, each with the bodies of its messages; broken ones are passed over."""
        while self.socket is not None:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                yield decode_answer(frames[0]), frames[1:]
            except StreamError:
                continue

    def close(self) -> None:
        """Let go of the connection."""
        if self.socket is not None:
            self.socket.close(linger=0)
            self.socket = None
