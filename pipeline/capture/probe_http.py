"""Asks an HTTP server for a stream and reads the head of its answer: status, and whether it is video."""

from __future__ import annotations

from urllib.parse import urljoin

from engines.errors import AuthenticationError, ProtocolError, SourceError, UnsupportedSourceError
from pipeline.capture.finding import Finding
from pipeline.capture.tls import SYSTEM_TRUST, Trust
from pipeline.capture.wire import Deadline, Wire, shown_path
from pipeline.rtsp.auth import authorization, parse_challenges, strongest
from pipeline.rtsp.message import MAX_HEAD_BYTES, Headers, Request, Response, format_request, parse_head
from pipeline.rtsp.url import StreamUrl, parse_url

_MAX_REDIRECTS = 3
_PLAYLISTS = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl")


def probe_http(url: StreamUrl, deadline: Deadline, trust: Trust = SYSTEM_TRUST) -> Finding:
    """What the server sends. Raises SourceError or one of its kinds, without credentials."""
    for _ in range(_MAX_REDIRECTS + 1):
        response = _ask(url, deadline, trust, "")
        if response.status == 401 and url.credentials is not None:
            challenge = strongest(parse_challenges(response.headers.all("WWW-Authenticate")))
            if challenge is not None:
                proof = authorization(challenge, url.credentials, "GET", url.target)
                response = _ask(url, deadline, trust, proof)
        if response.status not in (301, 302, 303, 307, 308):
            _check(response, url)
            return _finding(response, url)
        url = _next(url, response)
    raise SourceError(f"{url.place} sends clients on and on: more than {_MAX_REDIRECTS} redirects")


def _ask(url: StreamUrl, deadline: Deadline, trust: Trust, proof: str) -> Response:
    lines = [("Host", url.place), ("User-Agent", "vidpipe"), ("Accept", "*/*"), ("Connection", "close")]
    if proof:
        lines.append(("Authorization", proof))
    with Wire(url, deadline, trust) as wire:
        wire.send(format_request(Request("GET", url.target, Headers(tuple(lines)), protocol="HTTP/1.1")))
        return _read_head(wire, url)


def _read_head(wire: Wire, url: StreamUrl) -> Response:
    data = b""
    while b"\r\n\r\n" not in data:
        data += wire.receive()
        if not data.startswith(b"HTTP/"[: len(data)]) or len(data) > 2 * MAX_HEAD_BYTES:
            raise ProtocolError(f"{url.place} is no HTTP server: its answer begins with {data[:20]!r}")
    try:
        head = parse_head(data[: data.index(b"\r\n\r\n")])
    except ProtocolError as error:
        raise ProtocolError(f"{url.place} is no HTTP server: {error}") from error
    if not isinstance(head, Response):
        raise ProtocolError(f"{url.place} is no HTTP server: it answers with a request")
    return head


def _next(url: StreamUrl, response: Response) -> StreamUrl:
    """Where a redirect leads; credentials go along to the same server only."""
    try:
        target = parse_url(urljoin(url.bare, response.headers.get("Location")))
    except ValueError:
        raise ProtocolError(f"{url.place} sends clients on to what is no address") from None
    if target.scheme not in ("http", "https"):
        raise SourceError(f"{url.place} sends clients on to a {target.scheme}:// address: use that as the source")
    same = (target.scheme, target.place) == (url.scheme, url.place)
    return StreamUrl(
        target.scheme, target.host, target.port, target.target, url.credentials if same else target.credentials
    )


def _check(response: Response, url: StreamUrl) -> None:
    status, place = response.status, url.place
    if status in (200, 206):
        return
    if status == 401 and url.credentials is None:
        raise AuthenticationError(f"{place} asks for a user name and password, and the source names none")
    if status == 401:
        raise AuthenticationError(f"{place} refuses the user name or password")
    if status == 403:
        raise AuthenticationError(f"{place} forbids this user or address to see {shown_path(url)}")
    if status == 404:
        raise SourceError(f"{place} has nothing at {shown_path(url)}: check the path in the camera's manual")
    raise SourceError(f"{place} answers with {status} {response.reason[:80]}".rstrip())


def _finding(response: Response, url: StreamUrl) -> Finding:
    kind = response.headers.get("Content-Type").partition(";")[0].strip().lower()[:80]
    if kind == "multipart/x-mixed-replace":
        return Finding("http", f"{url.place} sends MJPEG", codec="mjpeg")
    if kind in _PLAYLISTS:
        raise UnsupportedSourceError(
            f"{url.place} sends an HLS playlist, which may lead anywhere and is not read: name a stream's own address"
        )
    if kind.startswith("video/"):
        return Finding("http", f"{url.place} sends {kind}")
    if kind in ("", "application/octet-stream", "binary/octet-stream"):
        return Finding("http", f"{url.place} sends data whose type it does not tell")
    what = (
        "a page" if kind in ("text/html", "application/xhtml+xml") else "a still picture" if "image/" in kind else kind
    )
    raise UnsupportedSourceError(
        f"{url.place} sends {what} at {shown_path(url)}, no video: name the stream's own address"
    )
