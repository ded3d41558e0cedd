"""A key folder with clients, and a look at how a socket's handshake ended."""

from __future__ import annotations

from pathlib import Path

import zmq
from zmq.utils.monitor import parse_monitor_message

from pipeline.keys.store import KeyStore, Role

ENDED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
ENDED |= zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED


class KeyFolder:
    """A folder of keys below another, and the files that its clients would carry away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "keys"
        self.store = KeyStore(self.folder, create=True)
        self._carried = folder / "carried"
        self._carried.mkdir()

    def new(self, name: str, *cameras: str, role: Role = Role.SUBSCRIBER, address: str = "tcp://127.0.0.1:1") -> Path:
        """Make a client for these cameras, or for all; the file with its secret."""
        out = self._carried / name
        self.store.new(name, cameras or None, role, address, out)
        return out


def handshake(socket: zmq.SyncSocket, events: int = ENDED) -> zmq.SyncSocket:
    """The events of a socket that is to connect; wait for one with `outcome`."""
    return socket.get_monitor_socket(events)


def outcome(monitor: zmq.SyncSocket, timeout_ms: int = 10_000) -> zmq.Event | None:
    """What happened next; None where nothing did in time."""
    if not monitor.poll(timeout_ms):
        return None
    return zmq.Event(parse_monitor_message(monitor.recv_multipart())["event"])
