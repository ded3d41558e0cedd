"""A grip on connections that belong to libzmq: who is at the other end, what it has said, and a way to hang up.

libzmq tells a connection's descriptor, which it may close, and the process use anew, at any moment. So the descriptor
is first copied onto one that is kept for it (which needs no free one), and the copy's address is compared.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_INFO_BYTES = 136
_RECEIVED_AT = 128  # of tcpi_bytes_received in struct tcp_info, linux/tcp.h since Linux 4.1


@dataclass(frozen=True)
class Link:
    """One connection, while it is held."""

    socket: socket.socket

    @property
    def _is_tcp(self) -> bool:
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) in (socket.AF_INET, socket.AF_INET6)

    def belongs_to(self, endpoint: str) -> bool:
        """Whether it came in at that endpoint of ours, as far as can be seen."""
        try:
            own = self.socket.getsockname()
            if self._is_tcp:
                return endpoint.startswith("tcp://") and endpoint.rpartition(":")[2] == str(own[1])
            # a name that is none of a file begins with a zero byte, unix(7); ZeroMQ writes @
            path = own if isinstance(own, str) else own.replace(b"\0", b"@", 1).decode(errors="replace")
            return endpoint == f"ipc://{path}"
        except OSError:
            return False  # no socket at all

    @property
    def remote(self) -> str:
        """The other machine's address; empty where it is this one, or none is known."""
        with suppress(OSError):
            if self._is_tcp:
                host = str(self.socket.getpeername()[0])
                return "" if ipaddress.ip_address(host.partition("%")[0]).is_loopback else host
        return ""

    @property
    def received_bytes(self) -> int | None:
        """How many bytes the other end has sent; None where the system does not say."""
        with suppress(OSError):
            told = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
            if len(told) == _INFO_BYTES:
                return int(struct.unpack_from("=Q", told, _RECEIVED_AT)[0])
        return None

    def hang_up(self) -> None:
        """End it; its owner sees that and closes its own descriptor."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Grip:
    """Holds one connection at a time. Used from one thread."""

    def __init__(self) -> None:
        self._nothing = socket.socket(socket.AF_UNIX)
        # whatever it holds, it takes it for one of paths: their addresses have room for all others
        self._held = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=fcntl.fcntl(self._nothing, fcntl.F_DUPFD_CLOEXEC, 0)
        )

    @contextmanager
    def on(self, descriptor: int, endpoint: str) -> Iterator[Link | None]:
        """The connection behind a descriptor; None where it is no more, or no connection to our `endpoint`."""
        try:
            os.dup2(descriptor, self._held.fileno(), inheritable=False)
        except OSError:
            yield None
            return
        link = Link(self._held)
        try:
            yield link if link.belongs_to(endpoint) else None
        finally:
            os.dup2(self._nothing.fileno(), self._held.fileno(), inheritable=False)

    def close(self) -> None:
        """Give both descriptors back."""
        self._held.close()
        self._nothing.close()
