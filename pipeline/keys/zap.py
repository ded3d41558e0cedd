"""The ZAP handler: what libzmq asks of every client that wants in, answered in a thread of the context's own.

Protocol: RFC 27, https://rfc.zeromq.org/spec/27/. Not pyzmq's `zmq.auth.ThreadAuthenticator`: that one neither counts
who was refused nor hands the peer's address to its callback, and it writes whole keys to the debug log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from enum import Enum

import zmq

DOMAIN = "vidpipe"  # not '*', which is no wildcard; a domain also makes libzmq refuse where no handler answers
_ENDPOINT = "inproc://zeromq.zap.01"
_VERSION = b"1.0"


class Refusal(Enum):
    """How a client is sent away. libzmq's clients never come back after NEVER, and try again after LATER."""

    LATER = b"300"
    NEVER = b"400"


Admit = Callable[[bytes, str], "str | Refusal"]
"""From a client's public key (32 bytes) and its IP address to its user id, or a refusal."""


def answer(request: Sequence[bytes], admit: Admit) -> list[bytes]:
    """The reply to one request; whatever is not as the RFC says is refused."""
    if len(request) < 6:
        return _reply(request[1] if len(request) > 1 else b"", Refusal.NEVER)
    version, number, domain, address, _, mechanism, *credentials = request
    asked = (version, domain, mechanism) == (_VERSION, DOMAIN.encode(), b"CURVE")
    if not asked or len(credentials) != 1 or len(credentials[0]) != 32:
        return _reply(number, Refusal.NEVER)
    return _reply(number, admit(credentials[0], address.decode("ascii", "replace")))


def user_of(frame: zmq.Frame) -> str:
    """Who sent a frame, as the handler answered; empty where nobody was asked."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""


def guard(context: zmq.SyncContext, admit: Admit) -> None:
    """Answer for all sockets of a context, until it is terminated. A context that is guarded already stays so."""
    # a shadow: whoever destroys the context closes the sockets that it knows, from another thread than theirs
    door: zmq.SyncSocket = zmq.Context.shadow(context.underlying).socket(zmq.REP)
    door.setsockopt(zmq.LINGER, 0)
    try:
        door.bind(_ENDPOINT)
    except zmq.ZMQError as error:
        door.close()
        if error.errno == zmq.EADDRINUSE:
            return
        raise
    threading.Thread(target=_serve, args=(door, admit), name="vidpipe-keys", daemon=True).start()


def _serve(door: zmq.SyncSocket, admit: Admit) -> None:
    try:
        while True:
            door.send_multipart(answer(door.recv_multipart(), admit))
    except zmq.ContextTerminated:
        door.close()


def _reply(number: bytes, verdict: str | Refusal) -> list[bytes]:
    if isinstance(verdict, Refusal):
        return [_VERSION, number, verdict.value, b"no access", b"", b""]
    return [_VERSION, number, b"200", b"OK", verdict.encode(), b""]
