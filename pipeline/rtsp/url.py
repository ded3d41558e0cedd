"""A stream's URL taken apart, with the credentials on their own so that the rest can be shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from engines.errors import SourceError
from pipeline.rtsp.auth import Credentials

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


@dataclass(frozen=True)
class StreamUrl:
    """Where a stream is and who may read it."""

    scheme: str
    host: str
    port: int
    target: str  # path and query, beginning with '/'
    credentials: Credentials | None = field(repr=False)

    @property
    def place(self) -> str:
        """`host:port`, with brackets round an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def bare(self) -> str:
        """The URL without credentials."""
        return f"{self.scheme}://{self.place}{self.target}"


def parse_url(url: str) -> StreamUrl:
    """Take a URL apart, undoing percent-encoding in the credentials. Raises SourceError, never with the URL itself."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SourceError(
            "the URL's host or port cannot be read: write it as scheme://user:password@host:port/path"
        ) from None
    if not host or parts.scheme not in DEFAULT_PORTS:
        allowed = ", ".join(f"{scheme}://" for scheme in DEFAULT_PORTS)
        raise SourceError(f"the URL should begin with one of {allowed} and name a host")
    if any(letter == " " or not letter.isprintable() for letter in parts.path + parts.query + host):
        raise SourceError("the URL holds a space or control character: percent-encode it")
    if parts.username is None and port is not None and "@" in parts.path + parts.query + parts.fragment:
        raise SourceError(
            "the URL has an @ after its path begins: percent-encode / ? # and @ in user name and password"
        )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    credentials = None
    if parts.username is not None:
        credentials = Credentials(unquote(parts.username), unquote(parts.password or ""))
    return StreamUrl(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], target, credentials)
