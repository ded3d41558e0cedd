"""Asks an RTSP server what it offers, with OPTIONS and DESCRIBE on a plain socket, and says what is wrong."""

from __future__ import annotations

import contextlib

from engines.errors import (
    AuthenticationError,
    ProtocolError,
    SilentSourceError,
    SourceError,
    UnsupportedSourceError,
)
from pipeline.capture.finding import Finding
from pipeline.capture.tls import SYSTEM_TRUST, Trust
from pipeline.capture.wire import Deadline, Wire, shown_path, speaks_tls
from pipeline.redaction import redact
from pipeline.rtsp.auth import Challenge, authorization, parse_challenges, strongest
from pipeline.rtsp.message import Headers, MessageParser, Request, Response, format_request
from pipeline.rtsp.sdp import MediaDescription, parse_sdp
from pipeline.rtsp.sps import PictureFormat, parse_sps
from pipeline.rtsp.url import StreamUrl

CODECS = {
    "H264": "h264",
    "H265": "hevc",
    "JPEG": "mjpeg",
    "MP4V-ES": "mpeg4",
    "MPV": "mpeg2video",
    "MP2T": "mpegts",
    "VP8": "vp8",
    "VP9": "vp9",
}
"""Names in RTP and in FFmpeg of what OpenCV's decoder takes; its wheels differ on AV1, which is left out."""


def probe_rtsp(url: StreamUrl, deadline: Deadline, trust: Trust = SYSTEM_TRUST) -> Finding:
    """What the server describes. Raises SourceError or one of its kinds, without credentials."""
    with Wire(url, deadline, trust) as wire:
        client = _Client(wire, url)
        try:
            client.ask("OPTIONS")
        except SilentSourceError:
            raise
        except SourceError as error:
            if url.scheme == "rtsp" and speaks_tls(url, deadline):
                raise SourceError(f"{url.place} speaks TLS: write rtsps:// in source instead of rtsp://") from error
            raise
        response = client.ask("DESCRIBE")
        for _ in range(2):  # a second try only where the server says that its nonce was too old
            challenge = strongest(parse_challenges(response.headers.all("WWW-Authenticate")))
            if response.status != 401 or url.credentials is None or challenge is None:
                break
            if client.answered and not challenge.stale:
                break
            response = client.ask("DESCRIBE", challenge)
        _check(response, url)
        return _finding(url, response.body.decode("utf-8", "replace"))


class _Client:
    """Requests and answers, one after the other."""

    def __init__(self, wire: Wire, url: StreamUrl) -> None:
        self.answered = False  # credentials have been sent
        self._wire, self._url = wire, url
        self._parser = MessageParser()
        self._count = 0

    def ask(self, method: str, challenge: Challenge | None = None) -> Response:
        """Send a request, with credentials where a challenge is given, and wait for its answer."""
        self._count += 1
        lines = [("CSeq", str(self._count)), ("User-Agent", "vidpipe")]
        if method == "DESCRIBE":
            lines.append(("Accept", "application/sdp"))
        if challenge is not None and self._url.credentials is not None:
            self.answered = True
            lines.append(("Authorization", authorization(challenge, self._url.credentials, method, self._url.bare)))
        self._wire.send(format_request(Request(method, self._url.bare, Headers(tuple(lines)))))
        return self._response()

    def _response(self) -> Response:
        while True:
            try:
                messages = list(self._parser.feed(self._wire.receive()))
            except ProtocolError as error:
                raise ProtocolError(f"{self._url.place} is no RTSP server: {error}") from error
            for message in messages:
                if isinstance(message, Response) and message.protocol.startswith("RTSP"):
                    return message
                if isinstance(message, Response):
                    raise ProtocolError(f"{self._url.place} is no RTSP server: it answers in {message.protocol}")


def _check(response: Response, url: StreamUrl) -> None:
    status, place = response.status, url.place
    if status == 200:
        return
    if status == 401 and url.credentials is None:
        raise AuthenticationError(f"{place} asks for a user name and password, and the source names none")
    if status == 401 and strongest(parse_challenges(response.headers.all("WWW-Authenticate"))) is None:
        raise AuthenticationError(f"{place} asks for a kind of authentication other than Basic and Digest")
    if status == 401:
        raise AuthenticationError(f"{place} refuses the user name or password")
    if status == 403:
        raise AuthenticationError(f"{place} forbids this user or address to see {shown_path(url)}")
    if status == 404:
        raise SourceError(f"{place} has no stream at {shown_path(url)}: check the path in the camera's manual")
    if 300 <= status < 400:
        target = redact(response.headers.get("Location"))
        raise SourceError(f"{place} sends clients on to {target[:200]}: use that address")
    raise SourceError(f"{place} answers DESCRIBE with {status} {response.reason[:80]}".rstrip())


def _finding(url: StreamUrl, description: str) -> Finding:
    media = parse_sdp(description)
    video = next((one for one in media if one.kind == "video"), None)
    if video is None:
        kinds = " and ".join(sorted({one.kind for one in media})) or "nothing"
        raise UnsupportedSourceError(f"{url.place} offers no video at {shown_path(url)}, only {kinds[:80]}")
    if video.encoding not in CODECS:
        name = video.encoding[:20] or "without a name"
        allowed = ", ".join(CODECS)
        raise UnsupportedSourceError(
            f"{url.place} sends video in the format {name}; those that can be read are {allowed}"
        )
    codec, picture = CODECS[video.encoding], _picture(video)
    size = f", {picture.width}x{picture.height}" if picture else ""
    return Finding(
        kind="rtsp",
        detail=f"{url.place} offers {codec}{size}",
        codec=codec,
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        fps=video.frame_rate or (picture.frame_rate if picture else None),
    )


def _picture(video: MediaDescription) -> PictureFormat | None:
    """From the first parameter set of H.264; None where it is missing or damaged, which the stream may mend."""
    sets = video.parameter_sets()
    if video.encoding == "H264" and sets:
        with contextlib.suppress(ProtocolError):
            return parse_sps(sets[0])
    return None
