"""The socket between a capture process and its parent: whole messages of bounded size, and a parent that never waits.

A capture process that a hostile stream has taken over may send anything. With SOCK_SEQPACKET it cannot send half a
message, which would make its parent wait for the rest, nor one that is larger than the parent's buffer.
"""

from __future__ import annotations

import select
import socket

_MOST_BYTES = 65536


class Link:
    """One end; `send_bytes` and `recv_bytes` pass whole messages."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    @classmethod
    def pair(cls) -> tuple[Link, socket.socket]:
        """The parent's end, which never blocks, and the socket for the child."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        return cls(ours), theirs

    @classmethod
    def inherited(cls, fd: int) -> Link:
        """The child's end, which waits."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def poll(self, timeout_s: float) -> bool:
        """Whether there is a message, or the end, within so many seconds."""
        waiting = select.poll()  # unlike select, at home with any number of cameras
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(1000 * timeout_s))

    def send_bytes(self, message: bytes) -> None:
        """Send one message. Raises OSError where the other end is gone, or does not read and this one never blocks."""
        self._socket.send(message)

    def recv_bytes(self) -> bytes:
        """One message. Raises EOFError where the other end is gone, OSError where the message is too long."""
        data, _, flags, _ = self._socket.recvmsg(_MOST_BYTES)
        if flags & socket.MSG_TRUNC:
            raise OSError("a message on the capture socket is too long")
        if not data:
            raise EOFError
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
