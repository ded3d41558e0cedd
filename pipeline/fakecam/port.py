"""Sockets on a port of their own: one that listens, or one that only keeps the port for it."""

from __future__ import annotations

import os
import socket

from engines.errors import SourceError

_BACKLOG = 128


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens and does not block; port 0 takes a free one. Raises SourceError."""
    sock = bound(host, port)
    try:
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(host, port, error) from error
    return sock


def bound(host: str, port: int) -> socket.socket:
    """A socket that keeps a port, where connections are refused: several may, as long as none listens before it.

    Raises SourceError where the address cannot be had.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise _refused(host, port, error) from error
    sock.settimeout(0)
    return sock


def _refused(host: str, port: int, error: OSError) -> SourceError:
    number = error.errno or 0  # below 0 for a failed name look-up
    reason = (os.strerror(number) if number > 0 else error.strerror or str(error)).lower()
    return SourceError(f"a server cannot listen at {host}:{port}: {reason}; choose another port or address")
