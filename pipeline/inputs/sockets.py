"""The sockets on which further inputs arrive: read when there is time for it, and never waited for.

SUB, not PULL: a sample is news and not a task. Whoever publishes it never waits and keeps no backlog for a pipeline
that is away, and two pipelines that listen to one microphone both hear all of it, where PUSH would deal samples out
between them in turn. CONFLATE would keep the newest message alone, whichever input it is of, and cut off its topic.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq

from engines.errors import StreamError
from pipeline.inputs.sample import PREFIX, camera_of
from pipeline.keys.store import Role
from pipeline.keys.zap import user_of
from pipeline.stream.address import exposure, ipc_in_use
from pipeline.stream.door import HANDSHAKE_MS, Door

if TYPE_CHECKING:
    from pipeline.keys.server import ServerKeys

_HIGH_WATER_MARK = 1000
_LEAST_MESSAGE_BYTES = 16384
_MOST_BYTES_A_VALUE = 32  # in JSON, with all digits
_BUDGET_S = 0.002
_FEWEST_PLACES = 64
_PLACES_OF_AN_INPUT = 4  # its sender and one that takes over, which may both be on one machine: that has half of all


@dataclass(frozen=True)
class Endpoint:
    """Where one input's samples come from; `key` is what errors call it, such as cameras.camera0.inputs.audio.

    `sender` names the key of whoever is bound there, where this end connects.
    """

    key: str
    address: str
    bind: bool
    sender: str = ""


class InputSockets:
    """One socket per address. Used from one thread.

    With `keys`, what is bound lets in clients of the key folder alone, what names a `sender` connects to nobody else,
    and of their samples those are passed on that they may send.

    Raises:
        StreamError: an address cannot be bound or connected to, or is open to others with neither `keys` nor
            `insecure`; a sender's key is not known.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        largest: int,
        insecure: bool = False,
        keys: ServerKeys | None = None,
    ) -> None:
        self.refused = 0
        self._keys = keys
        self._peers: dict[zmq.SyncSocket, str | None] = {}  # user ids where keys count; None: each message says it
        self._context: zmq.SyncContext = zmq.Context()
        self._largest_bytes = max(_LEAST_MESSAGE_BYTES, _MOST_BYTES_A_VALUE * largest)
        self._inputs = Counter(endpoint.address for endpoint in endpoints)
        self._sockets: dict[tuple[str, bool], zmq.SyncSocket] = {}
        self._poller = zmq.Poller()
        try:
            for endpoint in endpoints:
                if (endpoint.address, endpoint.bind) not in self._sockets:
                    socket = self._sockets[endpoint.address, endpoint.bind] = self._open(endpoint, insecure=insecure)
                    self._poller.register(socket, zmq.POLLIN)
        except StreamError:
            self.close()
            raise

    @property
    def addresses(self) -> list[str]:
        """Where the sockets are, with the ports that the system chose."""
        return [socket.getsockopt_string(zmq.LAST_ENDPOINT) for socket in self._sockets.values()]

    def receive(self) -> Iterator[list[bytes]]:
        """The messages that have arrived, in turn from each socket, for about two milliseconds at most."""
        deadline_s = time.perf_counter() + _BUDGET_S
        # one question for all sockets: to ask each of forty costs ten times as much
        waiting = [socket for socket, _ in self._poller.poll(0)]
        while waiting and time.perf_counter() < deadline_s:
            for socket in tuple(waiting):
                try:
                    message = self._read(socket)
                    if message is not None:
                        yield message
                except zmq.Again:
                    waiting.remove(socket)

    def close(self) -> None:
        """Let go of all addresses; closing twice is allowed."""
        self._context.destroy(linger=0)

    def _open(self, endpoint: Endpoint, *, insecure: bool) -> zmq.SyncSocket:
        address = endpoint.address
        keys = self._keys if endpoint.bind or endpoint.sender else None
        if keys is None and not insecure and (who := exposure(address)):
            raise StreamError(
                f"{_setting(endpoint)} is {address}, {who}: make keys (vidpipe keys new NAME --sender, then publish."
                "keys), use tcp://127.0.0.1:5560, or type --insecure if anyone there may send values"
            )
        socket: zmq.SyncSocket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, _HIGH_WATER_MARK)
        socket.setsockopt(zmq.MAXMSGSIZE, self._largest_bytes)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.IPV6, int("[" in address))
        socket.setsockopt(zmq.SUBSCRIBE, PREFIX)
        if keys is not None:
            self._peers[socket] = self._secure(socket, endpoint, keys)
        try:
            if endpoint.bind:
                if ipc_in_use(address):
                    raise zmq.ZMQError(zmq.EADDRINUSE)
                most = max(_FEWEST_PLACES, _PLACES_OF_AN_INPUT * self._inputs[address])
                Door(socket, _setting(endpoint), most)
                socket.bind(address)
            else:
                socket.connect(address)
        except (zmq.ZMQError, OSError) as error:
            raise StreamError(_why_not(endpoint, error)) from error
        return socket

    def _secure(self, socket: zmq.SyncSocket, endpoint: Endpoint, keys: ServerKeys) -> str | None:
        if not endpoint.bind:
            return keys.call(socket, endpoint.sender)
        keys.secure(socket)
        return None

    def _read(self, socket: zmq.SyncSocket) -> list[bytes] | None:
        """The next message; None where its sender may not send it."""
        if self._keys is None or socket not in self._peers:
            return socket.recv_multipart(zmq.NOBLOCK)
        frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
        message = [frame.bytes for frame in frames]
        user_id = self._peers[socket] or user_of(frames[0])
        if self._keys.allowed(user_id, camera_of(message[0]), Role.SENDER):
            return message
        self.refused += 1
        return None


def _setting(endpoint: Endpoint) -> str:
    return f"{endpoint.key}.{'bind' if endpoint.bind else 'connect'}"


def _why_not(endpoint: Endpoint, error: zmq.ZMQError | OSError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"{endpoint.key}.bind {endpoint.address} is in use: stop the other program or choose another port"
    way = "bound" if endpoint.bind else "connected to"
    reason = zmq.strerror(error.errno or 0)
    return f"{endpoint.key} {endpoint.address} cannot be {way} ({reason}): write tcp://127.0.0.1:5560"
