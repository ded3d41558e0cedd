"""What is said over the control socket: one request, one answer, each a line of JSON."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from engines.errors import StreamError

SOCKET_NAME = "control"
_MOST_BYTES = 65536


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done; `cameras` empty means all."""

    do: Literal["reload", "reset"]
    cameras: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """Whether it was done, and in words what or why not."""

    ok: bool
    text: str


_requests = msgspec.json.Decoder(Request)
_answers = msgspec.json.Decoder(Answer)


def encode(message: Request | Answer) -> bytes:
    """A line."""
    return msgspec.json.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises StreamError where it is none."""
    try:
        return _requests.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError(f"this is no order: {error}") from error


def decode_answer(line: bytes) -> Answer:
    """Raises StreamError where it is none."""
    try:
        return _answers.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError(f"vidpipe answered in a way that is not understood: {error}") from error


def read_line(connection: socket.socket, patience_s: float) -> bytes:
    """What comes up to the end of a line, or of the connection, within so many seconds, however it drips.

    Raises OSError; StreamError where it is too long or too slow.
    """
    data = b""
    deadline_s = time.monotonic() + patience_s
    while not data.endswith(b"\n"):
        connection.settimeout(max(1e-3, deadline_s - time.monotonic()))
        try:
            part = connection.recv(4096)
        except TimeoutError as error:
            raise StreamError(f"no whole line came within {patience_s:.0f} s") from error
        if not part:
            break
        data += part
        if len(data) > _MOST_BYTES:
            raise StreamError(f"an order longer than {_MOST_BYTES} bytes is none")
    return data


@contextmanager
def socket_path(folder: Path) -> Iterator[str]:
    """A name of the socket that is short enough for the system, whatever the folder's is (107 bytes, unix(7))."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{number}/{SOCKET_NAME}"
    finally:
        os.close(number)
