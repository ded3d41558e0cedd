"""Finds out by hand why a source gives no picture, since OpenCV only says that it does not open."""

from __future__ import annotations

from pathlib import Path

from engines.errors import SourceError
from pipeline.capture.finding import Finding
from pipeline.capture.probe_http import probe_http
from pipeline.capture.probe_local import probe_device, probe_file
from pipeline.capture.probe_rtsp import probe_rtsp
from pipeline.capture.tls import SYSTEM_TRUST, Trust
from pipeline.capture.wire import Deadline
from pipeline.rtsp.url import parse_url

__all__ = ["Finding", "Trust", "probe"]


def probe(url: str, *, timeout_s: float = 5.0, trust: Trust = SYSTEM_TRUST) -> Finding:
    """Look at a source once, without decoding, in `timeout_s` at most.

    Args:
        url: `rtsp(s)://`, `http(s)://`, `scene://`, a file's path or `file://` URL, or a device number.
        timeout_s: for the whole probe, name look-up included, however slowly the other side answers.
        trust: how the certificate of `rtsps` and `https` is checked.

    Raises:
        AuthenticationError: the camera wants other credentials; asking again soon may lock the account.
        UnsupportedSourceError: something answers, but it is no video that can be decoded.
        ProtocolError: what answers speaks another protocol.
        SourceError: anything else, such as a name not found, a refused connection, silence or a missing file.
        All in one sentence that never holds the credentials.
    """
    if url.isascii() and url.isdigit():
        return probe_device(Path(f"/dev/video{int(url)}"))
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        return probe_file(Path(url))
    if scheme == "scene":
        return Finding("scene", "the built-in test scene")
    if scheme == "file":
        return probe_file(Path("/" + rest.lstrip("/")))
    if scheme in ("rtsp", "rtsps"):
        return probe_rtsp(parse_url(url), Deadline(timeout_s), trust)
    if scheme in ("http", "https"):
        return probe_http(parse_url(url), Deadline(timeout_s), trust)
    raise SourceError(f"{scheme[:20]}:// is no kind of source: use rtsp://, http://, a file's path or a device number")
