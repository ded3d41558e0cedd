"""A plain blocking RTSP client for tests: sees every byte that a camera sends, over TCP or UDP."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.rtsp.message import (
    Headers,
    Interleaved,
    MessageParser,
    Request,
    Response,
    format_request,
)
from pipeline.rtsp.rtp import RtpPacket, defragment, parse_rtp

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Picture:
    """One access unit as received."""

    nals: tuple[bytes, ...]
    timestamp: int  # RTP, 32 bits
    sequences: tuple[int, ...]

    @property
    def idr(self) -> bool:
        return any(nal[0] & 0x1F == 5 for nal in self.nals)

    @property
    def annexb(self) -> bytes:
        return b"".join(b"\x00\x00\x00\x01" + nal for nal in self.nals)


class RtspClient:
    """One connection to one camera."""

    def __init__(self, url: str, *, udp: bool = False, receive_buffer: int | None = None) -> None:
        self.url, self.udp = url, udp
        host, port = re.match(r"rtsp://([^:/]+):(\d+)/", url).groups()
        self.socket = _connected(host, int(port), receive_buffer)
        self.control: list[bytes] = []  # RTCP packets as they came
        self.session = ""
        self._parser = MessageParser()
        self._waiting: list[object] = []
        self._count = 0
        self._ports = _port_pair() if udp else ()

    def send(self, method: str, uri: str = "", *lines: tuple[str, str]) -> None:
        """Send a request; SETUP asks for the usual transport."""
        self._count += 1
        headers = [("CSeq", str(self._count)), *lines]
        if method == "SETUP" and not lines:
            uri = uri or f"{self.url}/track1"
            headers.append(("Transport", self._wanted()))
        if self.session and not any(name == "Session" for name, _ in lines):
            headers.append(("Session", self.session))
        self.socket.sendall(format_request(Request(method, uri or self.url, Headers(tuple(headers)))))

    def answer(self, method: str) -> Response:
        """Wait for a response; media that comes in between is kept."""
        kept = []
        while True:
            message = self._message()
            assert message is not None, f"hung up instead of an answer to {method}"
            if isinstance(message, Response):
                self._waiting = kept + self._waiting
                return message
            kept.append(message)

    def ask(self, method: str, uri: str = "", *lines: tuple[str, str]) -> Response:
        """Send a request and wait for its response."""
        self.send(method, uri, *lines)
        return self.answer(method)

    def play(self) -> Response:
        """SETUP and PLAY."""
        setup = self.ask("SETUP")
        assert setup.status == 200, setup
        match = re.search(r"server_port=(\d+)-(\d+)", setup.headers.get("Transport"))
        self.server_ports = tuple(int(port) for port in match.groups()) if match else ()
        self.session = setup.headers.get("Session").partition(";")[0]
        return self.ask("PLAY")

    def packets(self) -> Iterator[RtpPacket]:
        """RTP packets until the camera says goodbye or hangs up."""
        yield from self._datagrams() if self.udp else self._interleaved()

    def pictures(self, count: int | None = None) -> list[Picture]:
        """The next pictures, or all until the end."""
        found, packets = [], []
        for packet in self.packets():
            packets.append(packet)
            if packet.marker:
                nals = defragment([one.payload for one in packets])
                found.append(Picture(nals, packets[0].timestamp, tuple(one.sequence for one in packets)))
                assert {one.timestamp for one in packets} == {packet.timestamp}
                packets = []
                if len(found) == count:
                    break
        return found

    def keep_alive(self) -> None:
        """Send the datagram that a UDP client owes its server now and then."""
        self._ports[1].sendto(b"\x80\xc9\x00\x01\x00\x00\x00\x01", ("127.0.0.1", self.server_ports[1]))

    def quiet(self, for_s: float) -> bool:
        """Whether nothing more comes for so long, after what was on its way, which is kept; False at the end."""
        self.socket.settimeout(for_s)
        try:
            while data := self.socket.recv(65536):
                self._waiting += self._parser.feed(data)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT_S)
        return False

    def at_end(self) -> bool:
        """True when the camera has hung up, after what was still on its way."""
        while self._message() is not None:
            pass
        return True

    def close(self) -> None:
        for sock in (self.socket, *self._ports):
            sock.close()

    def __enter__(self) -> RtspClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wanted(self) -> str:
        if not self.udp:
            return "RTP/AVP/TCP;unicast;interleaved=0-1"
        return "RTP/AVP;unicast;client_port={}-{}".format(*(sock.getsockname()[1] for sock in self._ports))

    def _interleaved(self) -> Iterator[RtpPacket]:
        while (message := self._message()) is not None:
            assert isinstance(message, Interleaved), message
            if message.channel == 0:
                yield parse_rtp(message.data)
            elif self._take_control(message.data):
                return

    def _datagrams(self) -> Iterator[RtpPacket]:
        media, control = self._ports
        for sock in self._ports:
            sock.settimeout(0.05)
        waited = 0
        while waited < TIMEOUT_S / 0.05:
            try:
                yield parse_rtp(media.recv(65536))
                waited = 0
            except TimeoutError:
                waited += 1
                try:
                    if self._take_control(control.recv(65536)):
                        return
                except TimeoutError:
                    pass
        raise AssertionError("no datagram for ten seconds")

    def _take_control(self, data: bytes) -> bool:
        self.control.append(data)
        return data[-8:-4][1:2] == b"\xcb"  # BYE is the last packet of its compound

    def _message(self) -> object:
        while not self._waiting:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._waiting = list(self._parser.feed(data))
        return self._waiting.pop(0)


def _connected(host: str, port: int, receive_buffer: int | None) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(TIMEOUT_S)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        sock.connect((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _port_pair() -> tuple[socket.socket, socket.socket]:
    first, second = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
    for sock in (first, second):
        sock.bind(("127.0.0.1", 0))
    return first, second
