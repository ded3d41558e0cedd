"""What one client has set up and plays: SETUP, PLAY, PAUSE and TEARDOWN (RFC 2326 section 10)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable

from pipeline.fakecam.camera import Camera
from pipeline.fakecam.faults import Full
from pipeline.fakecam.history import History, Left, PictureSent, Played
from pipeline.fakecam.line import Line
from pipeline.fakecam.transport import InterleavedTransport, Transport, open_udp, wanted_channels, wanted_ports
from pipeline.fakecam.viewer import Viewer
from pipeline.rtsp.message import Headers, Request, Response

TRACK = "/track1"


class Session:
    """The one session of a connection.

    Args:
        line: the client's connection.
        number: of the connection, in the history.
        history: where plays and pictures are noted.
        heard: called for each datagram of the client.
        timeout_s: how long a silent client keeps its session.
    """

    def __init__(
        self, line: Line, number: int, history: History, heard: Callable[[], None], *, timeout_s: float
    ) -> None:
        self._line, self._number, self._history = line, number, history
        self._heard, self._timeout_s = heard, timeout_s
        self._name = secrets.token_hex(8)
        self._camera: Camera | None = None
        self._transport: Transport | None = None
        self._viewer: Viewer | None = None
        self._sending: asyncio.Task[None] | None = None

    @property
    def plays_over_tcp(self) -> bool:
        """Whether pictures go over the connection itself, so that its end is noticed."""
        return self._viewer is not None and isinstance(self._transport, InterleavedTransport)

    def barred(self, camera: Camera) -> bool:
        """Whether the camera serves as many as it can, without this client."""
        full = self._line.view.find(Full)
        return full is not None and self._viewer is None and len(camera.viewers) >= full.viewers

    async def setup(self, camera: Camera, request: Request) -> Response:
        """Answer SETUP."""
        if self.barred(camera):
            return Response(503)
        if self._viewer is not None:
            return Response(455)
        transport = await self._open_transport(request.headers.get("Transport"))
        if transport is None:
            return Response(461)
        self._forget_transport()
        self._camera, self._transport = camera, transport
        return answered(("Transport", transport.header), ("Session", f"{self._name};timeout={self._timeout_s:g}"))

    def control(self, request: Request) -> Response:
        """PLAY, PAUSE, TEARDOWN and the keep-alives, which need a session but may come without its name."""
        named = request.headers.get("Session").partition(";")[0]
        if named not in ("", self._name):
            return Response(454)
        if request.method in ("GET_PARAMETER", "SET_PARAMETER"):
            return self._agreed()
        if self._camera is None or self._transport is None:
            return Response(455)
        if request.method == "TEARDOWN":
            self.leave()
            return Response(200)
        if request.method == "PLAY":
            return self._prepare(self._camera, self._transport, request.uri)
        return self._mute()

    def play(self) -> None:
        """Send pictures, after the answer to PLAY."""
        if self._camera is None or self._viewer is None or self._sending is not None:
            return
        self._sending = asyncio.get_running_loop().create_task(self._send(self._viewer))
        self._camera.attach(self._viewer)
        self._history.note(Played(time_s=time.monotonic(), connection=self._number, path=self._camera.path))

    def leave(self) -> None:
        """Stop playing; the connection itself stays."""
        if self._camera is not None and self._sending is not None and self._viewer is not None:
            self._camera.detach(self._viewer)
            self._history.note(Left(time_s=time.monotonic(), connection=self._number, path=self._camera.path))
            self._sending.cancel()
        self._camera = self._viewer = self._sending = None
        self._forget_transport()

    async def _open_transport(self, wanted: str) -> Transport | None:
        """The first of the client's options that can be had."""
        for option in wanted.split(","):
            if channels := wanted_channels(option.strip()):
                return InterleavedTransport(self._line, channels)
            if ports := wanted_ports(option.strip()):
                client, host = self._line.host("peername"), self._line.host("sockname")
                return await open_udp(host=host, client=client, client_ports=ports, heard=self._heard)
        return None

    def _prepare(self, camera: Camera, transport: Transport, uri: str) -> Response:
        """Answer PLAY; pictures follow the answer."""
        if self.barred(camera):
            return Response(503)
        if self._viewer is not None:
            self._viewer.muted = False
            return self._agreed()
        self._viewer = Viewer(transport, self._line.view, self._picture_sent, lossless=camera.lossless)
        track = uri.rstrip("/").removesuffix(TRACK) + TRACK
        info = f"url={track};seq={self._viewer.first_sequence};rtptime={self._viewer.first_timestamp}"
        reach = "npt=0.000-" if camera.lossless else "npt=now-"
        return self._agreed(("Range", reach), ("RTP-Info", info))

    def _mute(self) -> Response:
        if self._viewer is None:
            return Response(455)
        self._viewer.muted = True
        return self._agreed()

    def _agreed(self, *lines: tuple[str, str]) -> Response:
        return answered(("Session", self._name), *lines)

    async def _send(self, viewer: Viewer) -> None:
        with contextlib.suppress(OSError):  # the reading side sees the same end and leaves
            await viewer.run()

    def _picture_sent(self, index: int, ticks: int, timestamp: int) -> None:
        if self._camera is None:
            return
        sent = PictureSent(
            time_s=time.monotonic(),
            connection=self._number,
            path=self._camera.path,
            index=index,
            ticks=ticks,
            rtp_timestamp=timestamp,
        )
        self._history.note(sent)

    def _forget_transport(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._transport = None


def answered(*lines: tuple[str, str]) -> Response:
    """A response that says yes."""
    return Response(200, headers=Headers(lines))
