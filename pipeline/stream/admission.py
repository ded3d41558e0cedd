"""Whether a publisher lets its subscriber in, by the socket's monitor: whoever is refused just hears nothing."""

from __future__ import annotations

import logging

import zmq
from zmq.utils.monitor import parse_monitor_message

_log = logging.getLogger(__name__)

_WITHOUT_KEY = "it wants a key: ask its operator for one (vidpipe keys new NAME), and give its file as keys"
_REFUSALS: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: _WITHOUT_KEY,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "it does not know this key, or is another server than the key's file names",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "it has revoked this key or shut it out: make this subscriber anew with another",
}
_MOST_EVENTS = 100  # in one look


class Admission:
    """Watches one socket that connects. One warning for each time that a publisher begins to refuse."""

    def __init__(self, socket: zmq.SyncSocket, address: str) -> None:
        self._address = address
        self.refused = ""
        events = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        for event in _REFUSALS:
            events |= event
        self.monitor: zmq.SyncSocket = socket.get_monitor_socket(events)

    def look(self) -> None:
        """Take in what happened; to be called when `monitor` can be read, or now and then."""
        for _ in range(_MOST_EVENTS):
            try:
                event = int(parse_monitor_message(self.monitor.recv_multipart(zmq.NOBLOCK))["event"])
            except zmq.Again:
                return
            self._heed(_REFUSALS.get(event, ""))

    def _heed(self, reason: str) -> None:
        if reason and not self.refused:
            _log.warning("%s does not let this subscriber in: %s", self._address, reason)
        self.refused = reason
