"""ZeroMQ addresses: who can reach one, and whether somebody listens there already."""

from __future__ import annotations

import socket

_LOOPBACK = ("tcp://127.", "tcp://[::1]", "tcp://localhost:", "ipc://", "inproc://")


def is_local(address: str) -> bool:
    """Whether only programs on this machine can reach it."""
    return address.startswith(_LOOPBACK)


def ipc_in_use(address: str) -> bool:
    """Whether somebody listens there: ZeroMQ would take an ipc address away from them without a word."""
    if not address.startswith("ipc://"):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(address.removeprefix("ipc://")) == 0
