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
from pipeline.fakecam.faults import Answer, Close, Hang, Reset, Silent
from pipeline.fakecam.history import Answered, Asked, History, Refused
from pipeline.fakecam.line import Line
from pipeline.fakecam.session import TRACK, Session, answered
from pipeline.rtsp.auth import Guard
from pipeline.rtsp.message import Headers, MessageParser, Request, Response, format_response

SESSION_TIMEOUT_S = 60
METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN")


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
        self._session = Session(line, number, history, self._hear, timeout_s=SESSION_TIMEOUT_S)
        self._early = b""  # what came while a request was left to hang
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
        self._session.leave()
        self._line.end(reset=reset)

    async def _read(self) -> bytes:
        """What the client sends; empty at its end, or when it has been silent for longer than a session may be."""
        while not self._early:
            patience = None if self._session.plays_over_tcp else SESSION_TIMEOUT_S
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
        self._history.note(Asked(time_s=time.monotonic(), connection=self._number, path=self.path, method=method))
        self._cut_off()
        while view.find(Silent) or view.find(Hang, at=method):
            await self._hang()
        response = await self._answer(request)
        lines = (("CSeq", request.headers.get("CSeq", "0")), ("Server", "vidpipe"), *response.headers.lines)
        data = format_response(Response(response.status, headers=Headers(lines), body=response.body))
        await self._send(method, response.status, data)
        if method == "PLAY" and response.status == 200:
            self._session.play()

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
        self._history.note(Answered(time_s=now, connection=self._number, path=self.path, method=method, status=status))

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
        if request.method == "OPTIONS":
            return answered(("Public", ", ".join(METHODS)))
        if request.method not in ("DESCRIBE", "SETUP"):
            return self._session.control(request)
        camera = self._find(request.uri)
        if camera is None:
            return Response(404)
        if request.method == "SETUP":
            return await self._session.setup(camera, request)
        return self._describe(request, camera)

    def _refusal(self, request: Request) -> Response | None:
        """Why a request is not even looked at; anybody may ask for the OPTIONS."""
        if not request.protocol.startswith("RTSP/1"):
            return Response(505)
        if request.method not in METHODS:
            return Response(501)
        if not self._admits(request):
            challenge = self._guard.challenge(self._nonce).header() if self._guard else ""
            return Response(401, headers=Headers((("WWW-Authenticate", challenge),)))
        fault = self._line.view.find(Answer, at=request.method)
        return Response(fault.status) if fault else None

    def _admits(self, request: Request) -> bool:
        guard, given = self._guard, request.headers.get("Authorization")
        if guard is None or request.method == "OPTIONS":
            return True
        admitted = guard.admits(given, request.method, request.uri, self._nonce)
        if not admitted:
            now = time.monotonic()
            self._history.note(Refused(time_s=now, connection=self._number, path=self.path, wrong=bool(given)))
        return admitted

    def _describe(self, request: Request, camera: Camera) -> Response:
        if self._session.barred(camera):
            return Response(503)
        sdp = describe(camera, self._line.view, self._line.host("sockname"))
        base = request.uri.rstrip("/") + "/"
        headers = Headers((("Content-Base", base), ("Content-Type", "application/sdp")))
        return Response(200, headers=headers, body=sdp.encode())

    def _find(self, uri: str) -> Camera | None:
        path = unquote(urlsplit(uri).path).strip("/")
        return self._cameras.get(path) or self._cameras.get(path.removesuffix(TRACK))
