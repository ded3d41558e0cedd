"""Whether a publisher lets its subscriber in, by the socket's monitor: whoever is refused just hears nothing."""

from __future__ import annotations

import logging

import zmq
from zmq.utils.monitor import parse_monitor_message

_log = logging.getLogger(__name__)

_WITHOUT_KEY = (
    "it wants a key: ask its operator for one (vidpipe keys new NAME), and give its file as keys (--keys FILE), unless "
    "it has no room for more connections"
)
_WITH_KEY = "it does not know this key, is another server than the key's file names, or has no room"
_REVOKED = "it has revoked this key or shut it out: make this subscriber anew with another"
_ENDS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
)
_MOST_EVENTS = 100  # in one look


class Admission:
    """Watches one socket that connects. One warning for each time that a publisher begins to refuse."""

    def __init__(self, socket: zmq.SyncSocket, address: str, *, with_key: bool) -> None:
        self._address = address
        # libzmq tells by chance of either event, where one end speaks of keys and the other does not
        reason = _WITH_KEY if with_key else _WITHOUT_KEY
        self._reasons: dict[int, str] = dict.fromkeys(_ENDS, reason)
        self._reasons[zmq.EVENT_HANDSHAKE_FAILED_AUTH] = _REVOKED
        self._reasons[zmq.EVENT_HANDSHAKE_SUCCEEDED] = ""
        self.refused = ""
        self.monitor: zmq.SyncSocket = socket.get_monitor_socket(sum(_ENDS))

    def look(self) -> None:
        """Take in what happened; to be called when `monitor` can be read, or now and then."""
        for _ in range(_MOST_EVENTS):
            try:
                event = int(parse_monitor_message(self.monitor.recv_multipart(zmq.NOBLOCK))["event"])
            except zmq.Again:
                return
            self._heed(self._reasons.get(event, ""))

    def _heed(self, reason: str) -> None:
        if reason and not self.refused:
            _log.warning("%s does not let this subscriber in: %s", self._address, reason)
        self.refused = reason
