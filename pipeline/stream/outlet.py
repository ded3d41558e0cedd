"""The publisher's socket: an XPUB that never waits, knows who listens, and gives each client its own cameras only."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import zmq
from zmq.utils.monitor import parse_monitor_message

from engines.errors import StreamError
from pipeline.keys.zap import user_of
from pipeline.stream.address import exposure, ipc_in_use
from pipeline.stream.subscriptions import granted, withdrawn

if TYPE_CHECKING:
    from pipeline.keys.server import ServerKeys

_log = logging.getLogger(__name__)

_HIGH_WATER_MARK = 1000
_LINGER_MS = 500
_LONGEST_SUBSCRIPTION_BYTES = 512
_MOST_SUBSCRIPTIONS = 20_000  # under one key in one turn: many programs with many cameras may come back at once
_UNBIND_S = 1.0
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class Outlet:
    """One bound address. `send`, `attend` and `look` never wait for a subscriber. Used from one thread.

    Raises:
        StreamError: the address is taken, cannot be bound, or is open to others with neither `keys` nor `insecure`.
    """

    def __init__(self, bind: str, *, keys: ServerKeys | None = None, insecure: bool = False) -> None:
        if keys is None and not insecure and (who := exposure(bind)):
            raise StreamError(
                f"publish.bind is {bind}, {who}: make keys (vidpipe keys new NAME, then publish.keys), bind "
                "tcp://127.0.0.1:5555, or type --insecure if anyone there may read the predictions"
            )
        self._keys = keys
        self._failures = 0
        self._is_open = self._bound = False
        self._connected: set[int] = set()
        self._context: zmq.SyncContext = zmq.Context()
        try:
            if ipc_in_use(bind):
                raise zmq.ZMQError(zmq.EADDRINUSE)
            self._open(bind)
            self._socket.bind(bind)
            self._bound = True
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise StreamError(_why_not(bind, error)) from error
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def subscribers(self) -> int:
        """How many connections there were at the last `look`."""
        return len(self._connected)

    @property
    def auth_failures(self) -> int:
        """Connections that were refused so far: keys not known or revoked, no keys, or no ZeroMQ at all."""
        return self._failures + (self._keys.refused if self._keys else 0)

    def send(self, frames: list[bytes]) -> None:
        """Send to whoever subscribed; where a subscriber's queue is full, it loses the message."""
        self.attend()
        if self._is_open:
            self._socket.send_multipart(frames, zmq.NOBLOCK)

    def attend(self) -> None:
        """Take in what subscriptions came. Cheap where none did; to be called in each turn of a loop."""
        asked: Counter[str] = Counter()
        while self._is_open and int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            if self._keys is not None and not self._grant(frame, asked, self._keys):
                self._cut_off()
                self._open_again()
                return

    def look(self) -> None:
        """Once a second: count connections, and cut all where a client may do less than before (they come back)."""
        if self._is_open:
            self._read_events()
        if self._keys is not None and self._keys.refresh() and self._is_open:
            self._cut_off()
        if not self._bound:
            self._open_again()

    def _grant(self, frame: zmq.Frame, asked: Counter[str], keys: ServerKeys) -> bool:
        """Subscribe a client to what it may have of what it asks for; False where it breaks the protocol.

        libzmq applies a subscription to the connection that it believes the last message came from. A message that is
        no subscription puts that out of step by one, so that a client could have another's rights (libzmq 4.3.5): such
        a client is shut out, and the socket with its queue is thrown away.
        """
        content, user_id = frame.bytes, user_of(frame)
        if not user_id:
            return True  # a connection that ended, whose subscriptions went with it
        asked[user_id] += 1
        if content[:1] not in (b"\x00", b"\x01") or asked[user_id] > _MOST_SUBSCRIPTIONS:
            keys.shut_out(user_id, "it sent something else than subscriptions, or too many of them")
            return False
        cameras = keys.cameras(user_id)
        if content[:1] == b"\x01":
            for topics in granted(content[1:], cameras):
                self._socket.setsockopt(zmq.SUBSCRIBE, topics)
        else:
            for topics in withdrawn(content[1:], cameras):
                self._socket.setsockopt(zmq.UNSUBSCRIBE, topics)
        return True

    def _open(self, address: str) -> None:
        self._socket: zmq.SyncSocket = self._context.socket(zmq.XPUB)
        try:
            self._configure(address)
            self._events = self._watch()
        except zmq.ZMQError:
            self._socket.close(linger=0)
            raise
        self._is_open = True

    def _configure(self, address: str) -> None:
        self._socket.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _LONGEST_SUBSCRIPTION_BYTES)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        self._socket.setsockopt(zmq.IPV6, int("[" in address))
        if self._keys is not None:
            self._socket.setsockopt(zmq.XPUB_MANUAL, 1)
            self._keys.secure(self._socket)

    def _watch(self) -> zmq.SyncSocket:
        """The socket's own events. Without a mark: a full queue would hold up libzmq's thread, and every socket."""
        name = f"inproc://events-{id(self._socket)}"
        self._socket.monitor(name, _EVENTS)
        events: zmq.SyncSocket = self._context.socket(zmq.PAIR)
        events.setsockopt(zmq.RCVHWM, 0)
        events.setsockopt(zmq.LINGER, 0)
        events.connect(name)
        return events

    def _read_events(self, until: int = 0, timeout_s: float = 0.0) -> None:
        """Count what happened so far; with `until`, wait for that event too, `timeout_s` seconds at most."""
        while self._events.poll(round(1e3 * timeout_s)):
            event = parse_monitor_message(self._events.recv_multipart())
            kind, descriptor = event["event"], event["value"]
            if kind == zmq.EVENT_ACCEPTED:
                self._connected.add(descriptor)
            elif kind == zmq.EVENT_DISCONNECTED:
                self._connected.discard(descriptor)
            elif kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._failures += 1
            elif kind == until:
                return

    def _cut_off(self) -> None:
        """Cut all connections, which nothing else in ZeroMQ does. What was queued for them is for the replay."""
        if self._bound:
            self._socket.unbind(self.address)
            # the old listener takes its time to go, and would take the new one's ipc file with it
            self._read_events(zmq.EVENT_CLOSED, _UNBIND_S)
        self._socket.disable_monitor()
        self._events.close()
        self._socket.close(linger=0)
        self._connected.clear()
        self._is_open = self._bound = False
        _log.warning("all subscribers were cut off, since one of them may do less than before; they connect again")

    def _open_again(self) -> None:
        """Be there again, as far as the system lets us; messages meanwhile are for the replay."""
        try:
            if not self._is_open:
                self._open(self.address)
            self._socket.bind(self.address)
            self._bound = True
        except zmq.ZMQError as error:
            _log.error("%s; trying again each second", _why_not(self.address, error))

    def close(self) -> None:
        """Send what is queued (half a second at most) and let go of the address."""
        self._context.destroy(linger=_LINGER_MS)


def _why_not(bind: str, error: zmq.ZMQError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"publish.bind {bind} is already in use: stop the other program or choose another port"
    return f"publish.bind {bind} cannot be bound ({zmq.strerror(error.errno or 0)}): write tcp://127.0.0.1:5555"
