"""One client's RTSP connection: answers its requests and plays a camera to it (RFC 2326)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

from engines.errors import ProtocolError
from pipeline.fakecam.camera import Camera
from pipeline.fakecam.transport import InterleavedTransport, Transport, open_udp, wanted_channels, wanted_ports
from pipeline.fakecam.viewer import Viewer
from pipeline.rtsp.auth import Guard
from pipeline.rtsp.message import Headers, MessageParser, Request, Response, format_response
from pipeline.rtsp.sdp import format_sdp

SESSION_TIMEOUT_S = 60
METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN")

_TRACK = "/track1"


class Connection:
    """Serves one client until it leaves.

    Args:
        reader, writer: the client's stream, plain or TLS.
        cameras: by path.
        guard: asks for credentials; None admits everybody.
        note: called with the name of each thing worth counting: `plays`, `refused`.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        cameras: Mapping[str, Camera],
        guard: Guard | None,
        note: Callable[[str], None],
    ) -> None:
        self._reader, self._writer = reader, writer
        self._cameras, self._guard, self._note = cameras, guard, note
        self._nonce = secrets.token_hex(16)
        self._session = secrets.token_hex(8)
        self._camera: Camera | None = None
        self._transport: Transport | None = None
        self._viewer: Viewer | None = None
        self._sending: asyncio.Task[None] | None = None
        self._heard_s = asyncio.get_running_loop().time()

    @property
    def camera(self) -> Camera | None:
        """The camera that the client has set up."""
        return self._camera

    async def serve(self) -> None:
        """Answer requests until the client leaves, falls silent or sends what is no RTSP."""
        parser = MessageParser()
        try:
            while data := await self._read():
                for message in parser.feed(data):
                    if isinstance(message, Request):
                        await self._handle(message)
        except ProtocolError:
            self._writer.write(format_response(Response(400)))
        except OSError:
            pass  # the client is gone, which is its right
        finally:
            self._leave()
            self._writer.close()

    def close(self) -> None:
        """Hang up, after what is already on its way."""
        self._leave()
        self._writer.close()

    async def _read(self) -> bytes:
        """What the client sends; empty at its end, or when it has been silent for longer than a session may be."""
        while True:
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

    def _hear(self) -> None:
        self._heard_s = asyncio.get_running_loop().time()

    async def _handle(self, request: Request) -> None:
        response = await self._answer(request)
        lines = (("CSeq", request.headers.get("CSeq", "0")), ("Server", "vidpipe"), *response.headers.lines)
        self._writer.write(format_response(Response(response.status, headers=Headers(lines), body=response.body)))
        await self._writer.drain()
        if request.method == "PLAY" and response.status == 200:
            self._play()

    async def _answer(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
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
        self._note("refused")
        return _response(401, ("WWW-Authenticate", guard.challenge(self._nonce).header()))

    def _describe(self, request: Request) -> Response:
        camera = self._find(request.uri)
        if camera is None:
            return Response(404)
        picture = camera.media.format
        sdp = format_sdp(
            host=str(self._writer.get_extra_info("sockname")[0]),
            title=camera.path,
            sps=picture.sps,
            pps=picture.pps,
            frame_rate=picture.frame_rate,
            ends_s=camera.media.duration_s if camera.lossless else None,
        )
        base = request.uri.rstrip("/") + "/"
        headers = Headers((("Content-Base", base), ("Content-Type", "application/sdp")))
        return Response(200, headers=headers, body=sdp.encode())

    async def _setup(self, request: Request) -> Response:
        camera = self._find(request.uri)
        if camera is None:
            return Response(404)
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
        client, host = (self._writer.get_extra_info(name)[0] for name in ("peername", "sockname"))
        for option in wanted.split(","):
            if channels := wanted_channels(option.strip()):
                return InterleavedTransport(self._writer, channels)
            if ports := wanted_ports(option.strip()):
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
        if self._viewer is not None:
            self._viewer.muted = False
            return _response(200, ("Session", self._session))
        self._viewer = Viewer(transport, lossless=camera.lossless)
        track = request.uri.rstrip("/").removesuffix(_TRACK) + _TRACK
        info = f"url={track};seq={self._viewer.first_sequence};rtptime={self._viewer.first_timestamp}"
        reach = "npt=0.000-" if camera.lossless else "npt=now-"
        return _response(200, ("Session", self._session), ("Range", reach), ("RTP-Info", info))

    def _play(self) -> None:
        if self._camera is None or self._viewer is None or self._sending is not None:
            return
        self._sending = asyncio.get_running_loop().create_task(self._send(self._viewer))
        self._camera.attach(self._viewer)
        self._note("plays")

    async def _send(self, viewer: Viewer) -> None:
        with contextlib.suppress(OSError):  # the reading side sees the same end and leaves
            await viewer.run()

    def _mute(self) -> Response:
        if self._viewer is None:
            return Response(455)
        self._viewer.muted = True
        return _response(200, ("Session", self._session))

    def _leave(self) -> None:
        """Stop playing; the connection itself stays."""
        if self._camera is not None and self._viewer is not None:
            self._camera.detach(self._viewer)
            self._note("leaves")
        if self._sending is not None:
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
