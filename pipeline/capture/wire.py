"""A TCP or TLS connection for probing: every wait ends at one deadline, and only so many bytes are read."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import Any

from engines.errors import SilentSourceError, SourceError, UnreachableError
from pipeline.capture.tls import SYSTEM_TRUST, TLS_SCHEMES, Trust, reason, secure
from pipeline.redaction import redact
from pipeline.rtsp.url import StreamUrl

MAX_BYTES = 256 * 1024  # of all answers on one connection


def shown_path(url: StreamUrl) -> str:
    """Path and query of a URL as a message may show them, without passwords."""
    return redact(url.bare).removeprefix(f"{url.scheme}://{url.place}")


class Deadline:
    """A point in time that all steps of one probe share."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._ends_at = time.monotonic() + timeout_s

    def left_s(self, place: str) -> float:
        """Seconds left, above 0. Raises SourceError in the name of `place` where none are left."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise self.missed(place)
        return left

    def missed(self, place: str) -> SourceError:
        """What to raise when time has run out."""
        return SilentSourceError(
            f"{place} has given no full answer within {self.timeout_s:g} s: is the camera on, and is the address right?"
        )


class Wire:
    """An open connection. Raises SourceError, with one sentence, where it cannot be made.

    Args:
        url: where to connect; `rtsps` and `https` speak TLS.
        deadline: when to give up.
        trust: how the certificate is checked.
    """

    def __init__(self, url: StreamUrl, deadline: Deadline, trust: Trust = SYSTEM_TRUST) -> None:
        self._place, self._deadline = url.place, deadline
        self._received = 0
        self._socket: socket.socket = _connect(url, deadline)
        if url.scheme in TLS_SCHEMES:
            self._socket = _secure(self._socket, url, deadline, trust)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.settimeout(self._deadline.left_s(self._place))
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def receive(self) -> bytes:
        """What has come, at least a byte. Raises SourceError at the end of the connection or past the limits."""
        self._socket.settimeout(self._deadline.left_s(self._place))
        try:
            data = self._socket.recv(16 * 1024)
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            raise SourceError(f"{self._place} has closed the connection without a full answer")
        self._received += len(data)
        if self._received > MAX_BYTES:
            raise SourceError(f"{self._place} has sent more than {MAX_BYTES} bytes that are no answer")
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lost(self, error: OSError) -> SourceError:
        if isinstance(error, TimeoutError):
            return self._deadline.missed(self._place)
        return SourceError(f"{self._place} has broken off the connection: {reason(error)}")


def speaks_tls(url: StreamUrl, deadline: Deadline) -> bool:
    """Whether what listens there shakes hands, whoever it is; nothing else is sent."""
    try:
        Wire(replace(url, scheme="rtsps"), deadline, Trust(verify=False)).close()
    except SourceError:
        return False
    return True


def _connect(url: StreamUrl, deadline: Deadline) -> socket.socket:
    addresses = _look_up(url, deadline)
    failure: OSError = OSError("no address")
    for at, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(deadline.left_s(url.place) / (len(addresses) - at))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        except SourceError:
            sock.close()
            raise
        else:
            return sock
    raise _unreachable(url.place, failure, deadline) from failure


def _unreachable(place: str, error: OSError, deadline: Deadline) -> SourceError:
    if isinstance(error, ConnectionRefusedError):
        return UnreachableError(
            f"{place} refuses the connection: nothing listens there; is the camera up and the port right?"
        )
    if isinstance(error, TimeoutError):
        return deadline.missed(place)
    return UnreachableError(f"{place} cannot be reached: {reason(error)}")


def _look_up(url: StreamUrl, deadline: Deadline) -> list[Any]:
    """Addresses of the host; in a thread, since a look-up cannot be interrupted and may outlast any deadline."""
    host, port = url.host, url.port
    if _is_number(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_answer_into, args=(answers, host, port), name="probe-dns", daemon=True).start()
    try:
        found = answers.get(timeout=deadline.left_s(url.place))
    except queue.Empty:
        raise SilentSourceError(f"the name {host} has not been resolved within {deadline.timeout_s:g} s") from None
    if not found:
        raise UnreachableError(f"the name {host} is not known to the name service: is it spelt right?")
    return found


def _answer_into(answers: queue.SimpleQueue[list[Any] | None], host: str, port: int) -> None:
    try:
        answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        answers.put(None)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _secure(sock: socket.socket, url: StreamUrl, deadline: Deadline, trust: Trust) -> socket.socket:
    try:
        sock.settimeout(deadline.left_s(url.place))
    except SourceError:
        sock.close()
        raise
    try:
        return secure(sock, url, trust)
    except TimeoutError as error:
        raise deadline.missed(url.place) from error
