"""The door of a bound socket: connections are counted as they come and go, and where it is full, somebody has to leave.

ZeroMQ takes in whoever comes, until the process has no descriptor left for its cameras; and then its own thread spins.
"""

from __future__ import annotations

import errno
import logging
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass

import zmq

from pipeline.stream.grip import Grip

_log = logging.getLogger(__name__)

MOST_CONNECTIONS = 1024
HANDSHAKE_MS = 5000  # who has not said who it is by then is cut off by libzmq; its own default is 30 s
_ALARM_S = 60.0
_NOTE_MS = 5000
_EVENT = struct.Struct("=Hi")  # number and value, zmq_socket_monitor(3)
_WATCHED = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
# sent by the least that a handshake takes: greeting and READY; greeting, HELLO and INITIATE (RFC 23, RFC 26)
_PLAIN_BYTES, _CURVE_BYTES = 65, 523


@dataclass
class _Guest:
    """One connection, by its descriptor and where it came in; `settled` once it is known to have shaken hands."""

    descriptor: int
    endpoint: str
    address: str = ""
    settled: bool = False
    leaving: bool = False
    known_bytes: int = 0


@dataclass(frozen=True)
class Tally:
    """Connections that had to leave so far, and handshakes that broke ZeroMQ's protocol."""

    sent_away: int = 0
    failures: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.sent_away + other.sent_away, self.failures + other.failures)


class Door:
    """Watches one socket from before it binds until it is closed, in a thread of its own.

    With more than `most` connections in, those leave first that have not shaken hands yet, the oldest before the
    others; where all have, the one that came last. One address beyond loopback may have half of the places.
    Properties may be read from any thread.

    Args:
        socket: about to be bound; its context may be terminated, and the socket closed, at any time.
        name: what the log calls it, such as `publish.bind`.
        most: connections at one time.
    """

    def __init__(self, socket: zmq.SyncSocket, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._handshake_bytes = _CURVE_BYTES if socket.getsockopt(zmq.CURVE_SERVER) else _PLAIN_BYTES
        self._inside: dict[int, _Guest] = {}
        self._places: Counter[str] = Counter()
        self._why = ""
        self._last_s = self._told_s = float("-inf")
        self._noted_s = 0.0
        self.tally = Tally()
        self.closed = threading.Event()
        """Set once the socket listens no more."""
        self._lock = threading.Lock()
        self._grip = Grip()
        try:
            self._events = _events_of(socket)
        except zmq.ZMQError:
            self._grip.close()
            raise
        try:
            threading.Thread(target=self._watch, name="door", daemon=True).start()
        except RuntimeError as error:
            self._grip.close()
            self._events.close()  # or its context could never be terminated
            raise OSError(errno.EAGAIN, str(error)) from error

    @property
    def inside(self) -> int:
        """How many connections there are."""
        return len(self._inside)

    @property
    def alarm(self) -> str:
        """One sentence while somebody was sent away a moment ago; else empty."""
        return self._why if time.monotonic() - self._last_s < _ALARM_S else ""

    def send_away_loudest(self, why: str, least_bytes: int) -> bool:
        """Hang up on whoever has sent the most in the last seconds, where that is so much; False where nobody can tell.

        Whoever it was may have left before what it sent was read.
        """
        with self._lock:
            sent = {}
            for guest in self._inside.values():
                with self._grip.on(guest.descriptor, guest.endpoint) as link:
                    if link is not None and link.received_bytes is not None:
                        sent[guest.descriptor] = link.received_bytes - guest.known_bytes
            loudest = max(sent, key=sent.__getitem__, default=-1)
            if loudest >= 0 and sent[loudest] >= least_bytes and not self._inside[loudest].leaving:
                self._send_away(self._inside[loudest], why)
            return bool(sent) or not self._inside

    def _watch(self) -> None:
        try:
            while True:
                if self._events.poll(_NOTE_MS):
                    event, endpoint = self._events.recv_multipart()
                    kind, descriptor = _EVENT.unpack(event)
                    if kind == zmq.EVENT_MONITOR_STOPPED:
                        break
                    with self._lock:
                        self._heed(kind, descriptor, endpoint.decode())
                self._note()
        except zmq.ContextTerminated:
            _log.debug("%s: its door is closed", self._name)
        finally:
            with self._lock:
                self._inside.clear()
                self._events.close()
                self._grip.close()
                self.closed.set()

    def _heed(self, kind: int, descriptor: int, endpoint: str) -> None:
        if kind == zmq.EVENT_ACCEPTED:
            self._let_in(_Guest(descriptor, endpoint))
        elif kind == zmq.EVENT_DISCONNECTED:
            self._forget(descriptor)
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            self.tally += Tally(failures=1)
        elif kind == zmq.EVENT_CLOSED:
            self.closed.set()

    def _let_in(self, guest: _Guest) -> None:
        with self._grip.on(guest.descriptor, guest.endpoint) as link:
            guest.address = link.remote if link else ""
        self._inside[guest.descriptor] = guest
        self._places[guest.address] += 1
        if guest.address and self._places[guest.address] > self._most // 2:
            self._send_away(guest, f"{guest.address} has half of all {self._most} connections")
        elif self._places.total() > self._most:
            strangers = self._strangers()
            # some more than have to: to look at all of them for each that comes would cost too much
            for each in strangers[: max(1, len(strangers) // 8)] or [guest]:
                self._send_away(each, f"all of {self._most} connections are taken")

    def _strangers(self) -> list[_Guest]:
        """Who has not shaken hands, the oldest first."""
        found = []
        for guest in self._inside.values():
            if guest.settled or guest.leaving:
                continue
            with self._grip.on(guest.descriptor, guest.endpoint) as link:
                sent = link.received_bytes if link else None
            guest.settled = sent is None or sent >= self._handshake_bytes
            if not guest.settled:
                found.append(guest)
        return found

    def _send_away(self, guest: _Guest, why: str) -> None:
        with self._grip.on(guest.descriptor, guest.endpoint) as link:
            if link is not None:
                link.hang_up()
        guest.leaving = True
        self._places[guest.address] -= 1
        self.tally += Tally(sent_away=1)
        self._why, self._last_s = f"{self._name}: connections are ended, since {why}", time.monotonic()
        if self._last_s - self._told_s >= _ALARM_S:
            self._told_s = self._last_s
            _log.info("%s (%d so far)", self._why, self.tally.sent_away)

    def _forget(self, descriptor: int) -> None:
        guest = self._inside.pop(descriptor, None)
        if guest is None:
            return
        if not guest.leaving:
            self._places[guest.address] -= 1
        if not self._places[guest.address]:
            del self._places[guest.address]

    def _note(self) -> None:
        """Remember now and then how much each has sent: a long life's heartbeats are much, and no news."""
        now_s = time.monotonic()
        if now_s - self._noted_s < _NOTE_MS / 1e3:
            return
        self._noted_s = now_s
        with self._lock:
            for guest in self._inside.values():
                with self._grip.on(guest.descriptor, guest.endpoint) as link:
                    guest.known_bytes = (link.received_bytes if link else None) or guest.known_bytes


def _events_of(socket: zmq.SyncSocket) -> zmq.SyncSocket:
    """The socket's own events. Without a mark: a full queue would hold up libzmq's thread, and every socket."""
    name = f"inproc://door-{id(socket)}"
    socket.monitor(name, _WATCHED | zmq.EVENT_MONITOR_STOPPED)
    # a shadow: whoever destroys the context closes the sockets that it knows, from another thread than theirs
    events: zmq.SyncSocket = zmq.Context.shadow(socket.context.underlying).socket(zmq.PAIR)
    try:
        events.setsockopt(zmq.RCVHWM, 0)
        events.setsockopt(zmq.LINGER, 0)
        events.connect(name)
    except zmq.ZMQError:
        events.close()
        raise
    return events
