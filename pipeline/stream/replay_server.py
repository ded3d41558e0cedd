"""The replay endpoint: a ROUTER socket beside the publisher, and the address it is announced under."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import zmq

from engines.errors import StreamError
from pipeline.stream.address import exposure, ipc_in_use
from pipeline.stream.door import HANDSHAKE_MS, MOST_CONNECTIONS, Door, Tally
from pipeline.stream.replay import Allowed, ReplayDesk, everything
from pipeline.stream.replay_protocol import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from types import TracebackType

_MOST_QUESTIONS = 8  # that wait, of a connection, each of up to 128 KiB
_MOST_ANSWERS = 64  # that a connection has not read, each of up to 128 KiB
_BACKLOG = 64
_MOST_EARLY = 2000  # questions before their time, in a second
_LAST_PORT = 65535

_LEAST_QUESTION_BYTES = 15  # {"request": "last", "id": 1} in msgpack, and its frame

Secure = Callable[["zmq.SyncSocket"], None]


def default_address(bind: str) -> str:
    """Where the endpoint is by default: the port after the publisher's, or the path with `.replay` after it."""
    if bind.startswith("ipc://"):
        return f"{bind}.replay"
    host, _, port = bind.rpartition(":")
    return f"{host}:{int(port) + 1}" if port.isdecimal() and int(port) < _LAST_PORT else f"{host}:*"


class ReplayServer:
    """Binds the endpoint and serves requests, each time it is told to. Used from one thread at a time.

    Args:
        bind: what `publish.replay` says; None for the default beside `publisher`, where that is taken any free port.
        publisher: what `publish.bind` says.
        context: of ZeroMQ, where somebody authenticates its clients; else its own.
        secure: sets the socket up for encryption before it is bound.
        allowed: whether a client may see a camera.
        most: connections at one time.

    Raises:
        StreamError: the address is taken, cannot be bound, or is open to others without `secure` and `insecure`.
    """

    def __init__(
        self,
        bind: str | None,
        publisher: str,
        *,
        insecure: bool = False,
        context: zmq.SyncContext | None = None,
        secure: Secure | None = None,
        allowed: Allowed = everything,
        most: int = MOST_CONNECTIONS,
    ) -> None:
        address = bind or default_address(publisher)
        if (who := exposure(address)) and secure is None and not insecure:
            setting = f"publish.bind is {publisher}" if bind is None else f"publish.replay is {bind}"
            raise StreamError(
                f"{setting}, {who}, and there are no keys: bind an address of this machine, make keys with vidpipe "
                "keys new, or type --insecure"
            )
        self._own_context = context is None
        self._context: zmq.SyncContext = context or zmq.Context()
        self._allowed = allowed
        self._early, self._since_s = 0, 0.0
        self.socket: zmq.SyncSocket = self._context.socket(zmq.ROUTER)
        self._configure(address)
        if secure is not None:
            secure(self.socket)
        try:
            self._door = Door(self.socket, "publish.replay", most)
            self._bind(address, any_port=bind is None)
        except (zmq.ZMQError, OSError) as error:
            self.close()
            setting = f"publish.replay {address}"
            if bind is None:
                setting = f"publish.bind is {publisher}, and the address for replay beside it, {address},"
            raise StreamError(_why_not(setting, error)) from error
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        same_host = address.startswith("tcp://") and address.rpartition(":")[0] == publisher.rpartition(":")[0]
        self.announced = f":{self.address.rpartition(':')[2]}" if same_host else self.address

    def _configure(self, address: str) -> None:
        self.socket.setsockopt(zmq.SNDHWM, _MOST_ANSWERS)
        self.socket.setsockopt(zmq.RCVHWM, _MOST_QUESTIONS)
        self.socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
        self.socket.setsockopt(zmq.BACKLOG, _BACKLOG)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        self.socket.setsockopt(zmq.IPV6, int("[" in address))

    def _bind(self, address: str, *, any_port: bool) -> None:
        try:
            if ipc_in_use(address):
                raise zmq.ZMQError(zmq.EADDRINUSE)
            self.socket.bind(address)
        except zmq.ZMQError as error:
            if not any_port or error.errno != zmq.EADDRINUSE or address.startswith("ipc://"):
                raise
            self.socket.bind(f"{address.rpartition(':')[0]}:*")

    def serve(self, desk: ReplayDesk, most: int, before_each: Callable[[], None]) -> None:
        """Answer up to `most` requests that have arrived; never waits. `before_each` is called once one is here."""
        for _ in range(most):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            before_each()
            self._answer(desk, frames)
        self._keep_calm(desk, time.monotonic())

    def _keep_calm(self, desk: ReplayDesk, now_s: float) -> None:
        """To refuse costs time too: who asks on and on without waiting has to leave."""
        if now_s - self._since_s >= 1.0:
            self._early, self._since_s = desk.early, now_s
        elif desk.early - self._early > _MOST_EARLY:
            self._early = desk.early
            self._door.send_away_loudest("one asks on and on", least_bytes=_LEAST_QUESTION_BYTES * _MOST_EARLY // 2)

    def _answer(self, desk: ReplayDesk, frames: list[zmq.Frame]) -> None:
        client = frames[0].bytes
        user_id = _told(frames[-1], "User-Id") or None
        # a REQ socket puts an empty frame before its request, and wants it back
        envelope = [frame.bytes for frame in frames[:-1]][:2]
        origin = "" if user_id else _told(frames[-1], "Peer-Address")
        answer = desk.answer(frames[-1].bytes, client, user_id, time.monotonic(), origin)
        try:
            self.socket.send_multipart([*envelope, *answer], zmq.NOBLOCK)
        except zmq.ZMQError:
            return  # it has gone away, or does not read what it asks for

    @property
    def tally(self) -> Tally:
        """Connections that had to leave, and broken handshakes."""
        return self._door.tally

    @property
    def alarm(self) -> str:
        """One sentence while connections have to leave; else empty."""
        return self._door.alarm

    @property
    def allowed(self) -> Allowed:
        """Who may see what."""
        return self._allowed

    def close(self) -> None:
        """Let go of the address."""
        self.socket.close(linger=0)
        if self._own_context:
            self._context.term()

    def __enter__(self) -> ReplayServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _told(frame: zmq.Frame, what: str) -> str:
    """What libzmq knows of a message's sender; empty where it knows nothing."""
    try:
        return str(frame.get(what))
    except zmq.ZMQError:
        return ""


def _why_not(setting: str, error: zmq.ZMQError | OSError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"{setting} is already in use: stop the other program or choose another address"
    reason = zmq.strerror(error.errno or 0)
    return f"{setting} cannot be bound ({reason}): choose an address of this machine, such as tcp://127.0.0.1:5555"
