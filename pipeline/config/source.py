"""A camera's source: what kind of thing it is, and its address, which is a secret."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from engines.home import user_path
from pipeline.redaction import redact


class SourceKind(str, Enum):
    """What a source is."""

    RTSP = "rtsp"
    HTTP = "http"
    DEVICE = "device"
    FILE = "file"
    SCENE = "scene"


_SCHEMES = {
    "rtsp": SourceKind.RTSP,
    "rtsps": SourceKind.RTSP,
    "http": SourceKind.HTTP,
    "https": SourceKind.HTTP,
    "scene": SourceKind.SCENE,
}
ALLOWED = "rtsp://, rtsps://, http://, https://, scene://, a file's path or a device number"


class Source:
    """Where frames come from. Nothing but `reveal()` shows credentials: neither text nor fields nor a dump."""

    __slots__ = ("__reveal", "kind")

    def __init__(self, kind: SourceKind, address: str) -> None:
        self.kind = kind
        self.__reveal: Callable[[], str] = lambda: address

    @property
    def live(self) -> bool:
        """True where frames cannot wait: cameras and streams, all but files."""
        return self.kind is not SourceKind.FILE

    def reveal(self) -> str:
        """The address with credentials, for the process that opens it."""
        return self.__reveal()

    def __str__(self) -> str:
        return redact(self.reveal().replace(" ", "%20"))

    def __repr__(self) -> str:
        return f"Source({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and (self.kind, self.reveal()) == (other.kind, other.reveal())

    def __hash__(self) -> int:
        return hash((self.kind, self.reveal()))


def parse_source(value: str | int) -> Source:
    """Tell what a configured source is.

    Raises:
        ValueError: the scheme is not one of those allowed (FFmpeg would open far more than cameras).
    """
    text = str(value).strip()
    if text.isdigit():
        return Source(SourceKind.DEVICE, text)
    scheme, separator, rest = text.partition("://")
    if separator:
        return _from_url(scheme.lower(), rest, text)
    if not text:
        raise ValueError(f"is empty; allowed are {ALLOWED}")
    return Source(SourceKind.FILE, str(user_path(text)))


def _from_url(scheme: str, rest: str, text: str) -> Source:
    if scheme == "file":
        return Source(SourceKind.FILE, "/" + rest.lstrip("/"))
    if scheme not in _SCHEMES:
        raise ValueError(f"has the scheme {scheme}://; allowed are {ALLOWED}")
    if scheme != "scene" and not rest.rpartition("@")[2].strip("/"):
        raise ValueError(f"{redact(text.replace(' ', '%20'))} names no host; write {scheme}://user:password@host/path")
    return Source(_SCHEMES[scheme], text)
