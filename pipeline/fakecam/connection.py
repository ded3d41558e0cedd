"""One client's RTSP connection: answers its requests and plays a camera to it (RFC 2326)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from engines.errors import ProtocolError
from pipeline.fakecam.camera import Camera
from pipeline.fakecam.description import describe
from pipeline.fakecam.faults import Answer, Close, Full, Hang, Reset, Silent
from pipeline.fakecam.history import Answered, Asked, Event, History, Left, PictureSent, Played, Refused
from pipeline.fakecam.line import Line
from pipeline.fakecam.transport import InterleavedTransport, Transport, open_udp, wanted_channels, wanted_ports
from pipeline.fakecam.viewer import Viewer
from pipeline.rtsp.auth import Guard
from pipeline.rtsp.message import Headers, MessageParser, Request, Response, format_response

SESSION_TIMEOUT_S = 60
METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN")

_TRACK = "/track1"


class Connection:
    """Serves one client until it leaves.

    Args:
        reader, line: the client's stream, plain or TLS.
        number: of the connection, in the history.
        cameras: by path.
        guard: asks for credentials; None admits everybody.
        history: where what happens is noted.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        line: Line,
        *,
        number: int,
        cameras: Mapping[str, Camera],
        guard: Guard | None,
        history: History,
    ) -> None:
        self._reader, self._line, self._number = reader, line, number
        self._cameras, self._guard, self._history = cameras, guard, history
        self._nonce = secrets.token_hex(16)
        self._session = secrets.token_hex(8)
        self._early = b""  # what came while a request was left to hang
        self._camera: Camera | None = None
        self._transport: Transport | None = None
        self._viewer: Viewer | None = None
        self._sending: asyncio.Task[None] | None = None
        self._heard_s = asyncio.get_running_loop().time()

    @property
    def path(self) -> str | None:
        """The camera that the client has named last."""
        return self._line.view.path

    async def serve(self) -> None:
        """Answer requests until the client leaves, falls silent or sends what is no RTSP."""
        parser = MessageParser()
        try:
            self._cut_off()
            while data := await self._read():
                for message in parser.feed(data):
                    if isinstance(message, Request):
                        await self._handle(message)
        except ProtocolError:
            with contextlib.suppress(OSError):
                await self._line.send(format_response(Response(400)))
        except OSError:
            pass  # the client is gone, which is its right
        finally:
            self.close()

    def close(self, *, reset: bool = False) -> None:
        """Hang up: after what is already on its way, or by a reset."""
        self._leave()
        self._line.end(reset=reset)

    async def _read(self) -> bytes:
        """What the client sends; empty at its end, or when it has been silent for longer than a session may be."""
        while not self._early:
            over_tcp = self._viewer is not None and isinstance(self._transport, InterleavedTransport)
            patience = None if over_tcp else SESSION_TIMEOUT_S
            try:
                data = await asyncio.wait_for(self._reader.read(65536), patience)
            except asyncio.TimeoutError:
                if asyncio.get_running_loop().time() - self._heard_s >= SESSION_TIMEOUT_S:
                    return b""
                continue  # datagrams of the client have kept the session alive
            self._hear()
            return data
        data, self._early = self._early, b""
        return data

    def _hear(self) -> None:
        self._heard_s = asyncio.get_running_loop().time()

    async def _handle(self, request: Request) -> None:
        self._line.view.path = getattr(self._find(request.uri), "path", None) or self.path
        method, view = request.method, self._line.view
        self._note(Asked(time_s=time.monotonic(), connection=self._number, path=self.path, method=method))
        self._cut_off()
        while view.find(Silent) or view.find(Hang, at=method):
            await self._hang()
        response = await self._answer(request)
        lines = (("CSeq", request.headers.get("CSeq", "0")), ("Server", "vidpipe"), *response.headers.lines)
        data = format_response(Response(response.status, headers=Headers(lines), body=response.body))
        await self._send(method, response.status, data)
        if method == "PLAY" and response.status == 200:
            self._play()

    def _cut_off(self) -> None:
        for kind in (Reset, Close):
            if self._line.view.find(kind, at=""):
                self.close(reset=kind is Reset)
                raise ConnectionResetError("a fault ends the connection")

    async def _send(self, method: str, status: int, data: bytes) -> None:
        for kind in (Reset, Close):
            if self._line.view.find(kind, at=method):
                await self._line.cut(data, reset=kind is Reset)
                raise ConnectionResetError("a fault ends the connection")
        await self._line.send(data)
        now = time.monotonic()
        self._note(Answered(time_s=now, connection=self._number, path=self.path, method=method, status=status))

    async def _hang(self) -> None:
        """Wait until the faults change or the client sends on. Raises OSError where it leaves."""
        news = [asyncio.ensure_future(one) for one in (self._line.view.changed(), self._reader.read(65536))]
        try:
            await asyncio.wait(news, return_when=asyncio.FIRST_COMPLETED)
            if news[1].done():
                data = news[1].result()
                if not data:
                    raise ConnectionResetError("the client has left")
                self._early += data
        finally:
            for one in news:
                one.cancel()
            await asyncio.gather(*news, return_exceptions=True)  # nobody else may read before this reader has let go

    async def _answer(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if fault := self._line.view.find(Answer, at=request.method):
            return Response(fault.status)
        if request.method == "OPTIONS":
            return _response(200, ("Public", ", ".join(METHODS)))
        if request.method == "DESCRIBE":
            return self._describe(request)
        if request.method == "SETUP":
            return await self._setup(request)
        return self._control(request)

    def _refusal(self, request: Request) -> Response | None:
        """Why a request is not even looked at; anybody may ask for the OPTIONS."""
        if not request.protocol.startswith("RTSP/1"):
            return Response(505)
        if request.method not in METHODS:
            return Response(501)
        guard, given = self._guard, request.headers.get("Authorization")
        if (
            guard is None
            or request.method == "OPTIONS"
            or guard.admits(given, request.method, request.uri, self._nonce)
        ):
            return None
        self._note(Refused(time_s=time.monotonic(), connection=self._number, path=self.path, wrong=bool(given)))
        return _response(401, ("WWW-Authenticate", guard.challenge(self._nonce).header()))

    def _describe(self, request: Request) -> Response:
        camera = self._find(request.uri)
        if camera is None or self._full(camera):
            return Response(404 if camera is None else 503)
        sdp = describe(camera, self._line.view, self._line.host("sockname"))
        base = request.uri.rstrip("/") + "/"
        headers = Headers((("Content-Base", base), ("Content-Type", "application/sdp")))
        return Response(200, headers=headers, body=sdp.encode())

    def _full(self, camera: Camera) -> bool:
        """Whether the camera serves as many as it can."""
        full = self._line.view.find(Full)
        return full is not None and self._viewer is None and len(camera.viewers) >= full.viewers

    async def _setup(self, request: Request) -> Response:
        camera = self._find(request.uri)
        if camera is None or self._full(camera):
            return Response(404 if camera is None else 503)
        if self._viewer is not None:
            return Response(455)
        transport = await self._open_transport(request.headers.get("Transport"))
        if transport is None:
            return Response(461)
        self._forget_transport()
        self._camera, self._transport = camera, transport
        session = f"{self._session};timeout={SESSION_TIMEOUT_S}"
        return _response(200, ("Transport", transport.header), ("Session", session))

    async def _open_transport(self, wanted: str) -> Transport | None:
        """The first of the client's options that can be had."""
        for option in wanted.split(","):
            if channels := wanted_channels(option.strip()):
                return InterleavedTransport(self._line, channels)
            if ports := wanted_ports(option.strip()):
                client, host = self._line.host("peername"), self._line.host("sockname")
                return await open_udp(host=host, client=client, client_ports=ports, heard=self._hear)
        return None

    def _control(self, request: Request) -> Response:
        """PLAY, PAUSE, TEARDOWN and the keep-alives, which need a session but may come without its name."""
        session = request.headers.get("Session").partition(";")[0]
        if session not in ("", self._session):
            return Response(454)
        if request.method in ("GET_PARAMETER", "SET_PARAMETER"):
            return _response(200, ("Session", self._session))
        if self._camera is None or self._transport is None:
            return Response(455)
        if request.method == "TEARDOWN":
            self._leave()
            return Response(200)
        return self._prepare(request) if request.method == "PLAY" else self._mute()

    def _prepare(self, request: Request) -> Response:
        """Answer PLAY; pictures follow the answer."""
        camera, transport = self._camera, self._transport
        assert camera is not None
        assert transport is not None
        if self._full(camera):
            return Response(503)
        if self._viewer is not None:
            self._viewer.muted = False
            return _response(200, ("Session", self._session))
        self._viewer = Viewer(transport, self._line.view, self._picture_sent, lossless=camera.lossless)
        track = request.uri.rstrip("/").removesuffix(_TRACK) + _TRACK
        info = f"url={track};seq={self._viewer.first_sequence};rtptime={self._viewer.first_timestamp}"
        reach = "npt=0.000-" if camera.lossless else "npt=now-"
        return _response(200, ("Session", self._session), ("Range", reach), ("RTP-Info", info))

    def _play(self) -> None:
        if self._camera is None or self._viewer is None or self._sending is not None:
            return
        self._sending = asyncio.get_running_loop().create_task(self._run(self._viewer))
        self._camera.attach(self._viewer)
        self._note(Played(time_s=time.monotonic(), connection=self._number, path=self._camera.path))

    async def _run(self, viewer: Viewer) -> None:
        with contextlib.suppress(OSError):  # the reading side sees the same end and leaves
            await viewer.run()

    def _picture_sent(self, index: int, ticks: int, timestamp: int) -> None:
        if self._camera is not None:
            path, number, now = self._camera.path, self._number, time.monotonic()
            sent = PictureSent(
                time_s=now, connection=number, path=path, index=index, ticks=ticks, rtp_timestamp=timestamp
            )
            self._note(sent)

    def _note(self, event: Event) -> None:
        self._history.note(event)

    def _mute(self) -> Response:
        if self._viewer is None:
            return Response(455)
        self._viewer.muted = True
        return _response(200, ("Session", self._session))

    def _leave(self) -> None:
        """Stop playing; the connection itself stays."""
        if self._camera is not None and self._sending is not None and self._viewer is not None:
            self._camera.detach(self._viewer)
            self._note(Left(time_s=time.monotonic(), connection=self._number, path=self._camera.path))
            self._sending.cancel()
        self._camera = self._viewer = self._sending = None
        self._forget_transport()

    def _forget_transport(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._transport = None

    def _find(self, uri: str) -> Camera | None:
        path = unquote(urlsplit(uri).path).strip("/")
        return self._cameras.get(path) or self._cameras.get(path.removesuffix(_TRACK))


def _response(status: int, *lines: tuple[str, str]) -> Response:
    return Response(status, headers=Headers(lines))
