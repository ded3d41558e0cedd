"""ZeroMQ addresses: who can reach one, and whether somebody listens there already."""

from __future__ import annotations

import ipaddress
import socket
import stat
from pathlib import Path

_TCP = "tcp://"
_IPC = "ipc://"
_OTHERS = 0o077


def is_local(address: str) -> bool:
    """Whether only programs on this machine can reach it."""
    if not address.startswith(_TCP):
        return address.startswith((_IPC, "inproc://"))
    host = address.removeprefix(_TCP).rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"  # any other name may mean anything: 127.example.org too


def exposure(address: str) -> str:
    """Who beyond this machine's owner can reach an address, as half a sentence; empty where nobody can.

    An `ipc://` address lies in a folder, and is as private as that is. Loopback counts as private.
    """
    if not is_local(address):
        return "which other machines can reach"
    if not address.startswith(_IPC):
        return ""
    path = address.removeprefix(_IPC)
    folder = Path(path).parent
    if path.startswith("@"):
        return "which every user of this machine can reach"
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError:
        return ""  # there is nothing to bind to, which bind says
    return f"in the folder {folder} that other users can enter" if mode & _OTHERS else ""


def ipc_in_use(address: str) -> bool:
    """Whether somebody listens there: ZeroMQ would take an ipc address away from them without a word."""
    if not address.startswith(_IPC):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(address.removeprefix(_IPC)) == 0
