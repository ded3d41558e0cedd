"""RTSP and HTTP messages: parse them out of a byte stream and format them (RFC 2326 sections 4-7 and 10.12)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engines.errors import ProtocolError

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024

_STATUS_LINE = re.compile(r"(RTSP|HTTP)/([0-9]\.[0-9]) ([1-9][0-9]{2})(?: (.*))?")
_REQUEST_LINE = re.compile(r"([A-Z_]{1,32}) (\S+) (RTSP|HTTP)/([0-9]\.[0-9])")

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid In This State",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
}


@dataclass(frozen=True)
class Headers:
    """The header lines of one message, in order; names compare without case, and a name may come more than once."""

    lines: tuple[tuple[str, str], ...] = ()

    def get(self, name: str, default: str = "") -> str:
        """First value under `name`."""
        return next(iter(self.all(name)), default)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value under `name`, in order."""
        return tuple(value for key, value in self.lines if key.lower() == name.lower())

    def number(self, name: str) -> int:
        """The value as a whole number, 0 when absent. Raises ProtocolError where it is something else."""
        text = self.get(name, "0")
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise ProtocolError(f"the header {name} should be a whole number and is {text[:40]!r}")
        return int(text)


@dataclass(frozen=True)
class Request:
    """A request such as `DESCRIBE rtsp://host/path RTSP/1.0`."""

    method: str
    uri: str
    headers: Headers = Headers()
    body: bytes = b""
    protocol: str = "RTSP/1.0"


@dataclass(frozen=True)
class Response:
    """A response such as `RTSP/1.0 200 OK`."""

    status: int
    reason: str = ""
    headers: Headers = Headers()
    body: bytes = b""
    protocol: str = "RTSP/1.0"


@dataclass(frozen=True)
class Interleaved:
    """An RTP or RTCP packet inside the RTSP connection, on one of its channels (RFC 2326 section 10.12)."""

    channel: int
    data: bytes


Message = Request | Response | Interleaved


def format_request(request: Request) -> bytes:
    """The bytes of a request; Content-Length is added where there is a body."""
    return _format(f"{request.method} {request.uri} {request.protocol}", request.headers, request.body)


def format_response(response: Response) -> bytes:
    """The bytes of a response; Content-Length is added where there is a body."""
    reason = response.reason or REASONS.get(response.status, "Unknown")
    return _format(f"{response.protocol} {response.status} {reason}", response.headers, response.body)


def format_interleaved(packet: bytes, channel: int) -> bytes:
    """A packet with its four-byte `$` header. The packet must be shorter than 65536 bytes."""
    return b"$" + bytes((channel,)) + len(packet).to_bytes(2, "big") + packet


def parse_head(head: bytes) -> Request | Response:
    """Parse start line and headers (without the empty line at the end). Raises ProtocolError."""
    first, *rest = head.decode("utf-8", "replace").split("\r\n")
    headers = Headers(tuple(_header(line) for line in rest if line))
    if match := _STATUS_LINE.fullmatch(first):
        protocol = f"{match[1]}/{match[2]}"
        return Response(int(match[3]), match[4] or "", headers, protocol=protocol)
    if match := _REQUEST_LINE.fullmatch(first):
        return Request(match[1], match[2], headers, protocol=f"{match[3]}/{match[4]}")
    raise ProtocolError(f"{first[:40]!r} is neither an RTSP request nor a response")


class MessageParser:
    """Cuts a byte stream into messages; feed it what a socket gave, in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield each message that is complete now. Raises ProtocolError on other bytes, or more than allowed."""
        self._buffer += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Message | None:
        while self._buffer[:2] == b"\r\n":  # a blank line between messages is allowed
            del self._buffer[:2]
        return self._interleaved() if self._buffer[:1] == b"$" else self._text()

    def _interleaved(self) -> Interleaved | None:
        end = 4 + int.from_bytes(self._buffer[2:4], "big")
        if len(self._buffer) < max(4, end):
            return None
        packet = Interleaved(self._buffer[1], bytes(self._buffer[4:end]))
        del self._buffer[:end]
        return packet

    def _text(self) -> Request | Response | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES):
            raise ProtocolError(f"the headers of a message are longer than {MAX_HEAD_BYTES} bytes")
        if end < 0:
            first, newline, _ = self._buffer.partition(b"\n")
            if newline:  # another protocol's greeting may never be followed by an empty line
                parse_head(bytes(first.rstrip(b"\r")))
            return None
        message = parse_head(bytes(self._buffer[:end]))
        size = message.headers.number("Content-Length")
        if size > MAX_BODY_BYTES:
            raise ProtocolError(f"a message announces {size} bytes, more than the {MAX_BODY_BYTES} allowed")
        if len(self._buffer) < end + 4 + size:
            return None
        body = bytes(self._buffer[end + 4 : end + 4 + size])
        del self._buffer[: end + 4 + size]
        return _with_body(message, body)


def _with_body(message: Request | Response, body: bytes) -> Request | Response:
    if isinstance(message, Request):
        return Request(message.method, message.uri, message.headers, body, message.protocol)
    return Response(message.status, message.reason, message.headers, body, message.protocol)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise ProtocolError(f"{line[:40]!r} should be a header line 'Name: value'")
    return name.strip(), value.strip()


def _format(first: str, headers: Headers, body: bytes) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers.lines)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass") + body
