"""The publisher's socket: an XPUB that never waits, knows who listens, and gives each client its own cameras only."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import zmq

from engines.errors import StreamError
from pipeline.keys.zap import user_of
from pipeline.stream.address import exposure, ipc_in_use
from pipeline.stream.door import HANDSHAKE_MS, MOST_CONNECTIONS, Door, Tally
from pipeline.stream.subscription_count import MOST_IN_A_SECOND, SubscriptionCount
from pipeline.stream.subscriptions import granted, withdrawn

if TYPE_CHECKING:
    from pipeline.keys.server import ServerKeys

_log = logging.getLogger(__name__)

_HIGH_WATER_MARK = 1000
_WAITING_SUBSCRIPTIONS = 32  # of a connection: libzmq reads on within our own calls as long as there are any
_READ_AT_ONCE = 1000
_LINGER_MS = 500
_LONGEST_SUBSCRIPTION_BYTES = 128
_LONGEST_HANDSHAKE_BYTES = 512  # of CURVE, which the same limit holds for
_UNREAD_BYTES = 1 << 16  # of subscriptions in the kernel, which are read also after their sender was cut off
_UNBIND_S = 1.0
_TOO_MUCH = "one subscribes to too much"
_LESS = "one of them may do less than before"


class Outlet:
    """One bound address. `send`, `attend` and `look` never wait for a subscriber. Used from one thread.

    Raises:
        StreamError: the address is taken, cannot be bound, or is open to others with neither `keys` nor `insecure`.
    """

    def __init__(
        self, bind: str, *, keys: ServerKeys | None = None, insecure: bool = False, most: int = MOST_CONNECTIONS
    ) -> None:
        if keys is None and not insecure and (who := exposure(bind)):
            raise StreamError(
                f"publish.bind is {bind}, {who}: make keys (vidpipe keys new NAME, then publish.keys), bind "
                "tcp://127.0.0.1:5555, or type --insecure if anyone there may read the predictions"
            )
        self._keys = keys
        self._most = most
        self._is_open = self._bound = False
        self._earlier = Tally()
        self._count = SubscriptionCount()
        self._context: zmq.SyncContext = zmq.Context()
        try:
            if ipc_in_use(bind):
                raise zmq.ZMQError(zmq.EADDRINUSE)
            self._open(bind)
            self._socket.bind(bind)
            self._bound = True
        except (zmq.ZMQError, OSError) as error:
            self._context.destroy(linger=0)
            raise StreamError(_why_not(bind, error)) from error
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def subscribers(self) -> int:
        """How many connections there are."""
        return self._door.inside if self._is_open else 0

    @property
    def auth_failures(self) -> int:
        """Connections that were refused so far: keys not known or revoked, no keys, or no ZeroMQ at all."""
        return self._tally.failures + (self._keys.refused if self._keys else 0)

    @property
    def sent_away(self) -> int:
        """Connections that had to leave so far, since there were too many or they asked for too much."""
        return self._tally.sent_away

    @property
    def alarm(self) -> str:
        """One sentence while connections have to leave; else empty."""
        return self._door.alarm if self._is_open else ""

    @property
    def _tally(self) -> Tally:
        return self._earlier + self._door.tally if self._is_open else self._earlier

    def send(self, frames: list[bytes]) -> None:
        """Send to whoever subscribed; where a subscriber's queue is full, it loses the message."""
        self.attend()
        if self._is_open:
            self._socket.send_multipart(frames, zmq.NOBLOCK)

    def attend(self) -> None:
        """Take in what subscriptions came, a few hundred at most. Cheap where none did; for each turn of a loop."""
        if not (self._is_open and int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN):
            return
        # no look at the events in between: libzmq would fetch more each time than we take
        for _ in range(_READ_AT_ONCE):
            try:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            if not self._heed(frame):
                self._open_again()
                return

    def look(self) -> None:
        """Once a second: cut all connections where a client may do less than before (they come back)."""
        self._count.begin_second()
        if self._keys is not None and self._keys.refresh() and self._is_open:
            self._cut_off(_LESS)
        if not self._bound:
            self._open_again()

    def _heed(self, frame: zmq.Frame) -> bool:
        """Take in one subscription; False where all had to be cut off."""
        if self._keys is not None:
            if not self._grant(frame, self._keys):
                self._cut_off(_LESS)
        elif not self._count.take(frame.bytes):
            # libzmq has subscribed whoever asked; each message has three bytes at least
            told = self._door.send_away_loudest(_TOO_MUCH, least_bytes=MOST_IN_A_SECOND // 2)
            if not told or self._count.is_far_too_much:
                self._cut_off(_TOO_MUCH)
        return self._is_open

    def _grant(self, frame: zmq.Frame, keys: ServerKeys) -> bool:
        """Subscribe a client to what it may have of what it asks for; False where it breaks the protocol.

        libzmq applies a subscription to the connection that it believes the last message came from. A message that is
        no subscription puts that out of step by one, so that a client could have another's rights (libzmq 4.3.5): such
        a client is shut out, and the socket with its queue is thrown away.
        """
        content, user_id = frame.bytes, user_of(frame)
        if not user_id:
            return True  # a connection that ended, whose subscriptions went with it
        cameras = keys.cameras(user_id)
        given = granted(content[1:], cameras) if content[:1] == b"\x01" else []
        for topics in given:
            self._socket.setsockopt(zmq.SUBSCRIBE, topics)
        if content[:1] == b"\x00":
            for topics in withdrawn(content[1:], cameras):
                self._socket.setsockopt(zmq.UNSUBSCRIBE, topics)
        if self._count.ask(user_id, given, self._door.inside) and content[:1] in (b"\x00", b"\x01"):
            return True
        keys.shut_out(user_id, "it sent something else than subscriptions, or too many of them")
        return False

    def _open(self, address: str) -> None:
        self._socket: zmq.SyncSocket = self._context.socket(zmq.XPUB)
        try:
            self._configure(address)
            self._door = Door(self._socket, "publish.bind", self._most)
        except (zmq.ZMQError, OSError):
            self._socket.close(linger=0)
            raise
        self._is_open = True

    def _configure(self, address: str) -> None:
        self._socket.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.RCVHWM, _WAITING_SUBSCRIPTIONS)
        self._socket.setsockopt(zmq.RCVBUF, _UNREAD_BYTES)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        longest = _LONGEST_HANDSHAKE_BYTES if self._keys else _LONGEST_SUBSCRIPTION_BYTES
        self._socket.setsockopt(zmq.MAXMSGSIZE, longest)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        self._socket.setsockopt(zmq.IPV6, int("[" in address))
        if self._keys is not None:
            self._socket.setsockopt(zmq.XPUB_MANUAL, 1)
            self._keys.secure(self._socket)

    def _cut_off(self, why: str) -> None:
        """Cut all connections, which nothing else in ZeroMQ does. What was queued for them is for the replay."""
        if self._bound:
            self._socket.unbind(self.address)
            # the old listener takes its time to go, and would take the new one's ipc file with it
            self._door.closed.wait(_UNBIND_S)
        self._earlier = self._tally
        self._socket.disable_monitor()
        self._socket.close(linger=0)
        self._count = SubscriptionCount()
        self._is_open = self._bound = False
        _log.warning("all subscribers were cut off, since %s; they connect again", why)

    def _open_again(self) -> None:
        """Be there again, as far as the system lets us; messages meanwhile are for the replay."""
        try:
            if not self._is_open:
                self._open(self.address)
            self._socket.bind(self.address)
            self._bound = True
        except (zmq.ZMQError, OSError) as error:
            _log.error("%s; trying again each second", _why_not(self.address, error))

    def close(self) -> None:
        """Send what is queued (half a second at most) and let go of the address."""
        self._context.destroy(linger=_LINGER_MS)


def _why_not(bind: str, error: zmq.ZMQError | OSError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"publish.bind {bind} is already in use: stop the other program or choose another port"
    return f"publish.bind {bind} cannot be bound ({zmq.strerror(error.errno or 0)}): write tcp://127.0.0.1:5555"
