"""How packets reach one client: inside the RTSP connection, or as datagrams (RFC 2326 sections 10.12 and 12.39)."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pipeline.fakecam.line import Line
from pipeline.rtsp.message import format_interleaved

_BURST_PACKETS = 16  # datagrams sent at once, so that a large picture does not overrun the client's socket buffer
_BURST_PAUSE_S = 0.001


class Transport(Protocol):
    """Carries packets to one client."""

    @property
    def header(self) -> str:
        """The value of `Transport` in the answer to SETUP."""
        ...

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send the RTP packets of one picture. Raises OSError where the client is gone."""
        ...

    async def send_control(self, packet: bytes) -> None:
        """Send an RTCP packet."""
        ...

    def close(self) -> None:
        """Give back what it holds of its own; an RTSP connection is not its own."""
        ...


class InterleavedTransport:
    """RTP and RTCP on two channels of the RTSP connection."""

    def __init__(self, line: Line, channels: tuple[int, int]) -> None:
        self._line, self._channels = line, channels

    @property
    def header(self) -> str:
        """Names the channels."""
        return "RTP/AVP/TCP;unicast;interleaved={}-{}".format(*self._channels)

    async def send(self, packets: Sequence[bytes]) -> None:
        """Write a picture in one piece; waits while the client is behind, up to a limit."""
        await self._line.send(b"".join(format_interleaved(packet, self._channels[0]) for packet in packets))

    async def send_control(self, packet: bytes) -> None:
        """Write an RTCP packet."""
        await self._line.send(format_interleaved(packet, self._channels[1]))

    def close(self) -> None:
        """Nothing to give back."""


class UdpTransport:
    """RTP and RTCP as datagrams from a pair of neighbouring ports; made by `open_udp`."""

    def __init__(self, ends: tuple[Any, Any], client: str, client_ports: tuple[int, int]) -> None:
        self._ends, self._client, self._client_ports = ends, client, client_ports

    @property
    def header(self) -> str:
        """Names the ports on both sides."""
        server = "-".join(str(end.get_extra_info("sockname")[1]) for end in self._ends)
        return "RTP/AVP;unicast;client_port={}-{};server_port={}".format(*self._client_ports, server)

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send a picture's packets, in bursts that a client's socket buffer can hold."""
        for at, packet in enumerate(packets):
            if at and at % _BURST_PACKETS == 0:
                await asyncio.sleep(_BURST_PAUSE_S)
            self._ends[0].sendto(packet, (self._client, self._client_ports[0]))

    async def send_control(self, packet: bytes) -> None:
        """Send an RTCP packet."""
        self._ends[1].sendto(packet, (self._client, self._client_ports[1]))

    def close(self) -> None:
        """Close both ports."""
        for end in self._ends:
            end.close()


async def open_udp(*, host: str, client: str, client_ports: tuple[int, int], heard: Callable[[], None]) -> UdpTransport:
    """Open a pair of ports on `host`; `heard` is called for each datagram of the client. Raises OSError."""
    loop = asyncio.get_running_loop()
    ends = []
    for sock in _port_pair(host):
        end, _ = await loop.create_datagram_endpoint(lambda: _Listener(client, heard), sock=sock)
        ends.append(end)
    return UdpTransport((ends[0], ends[1]), client, client_ports)


def wanted_channels(option: str) -> tuple[int, int] | None:
    """The channels of one option of a `Transport` header, None where it does not ask for interleaved TCP."""
    if not option.upper().startswith("RTP/AVP/TCP"):
        return None
    match = re.search(r"interleaved=(\d{1,3})-(\d{1,3})", option)
    channels = (int(match[1]), int(match[2])) if match else (0, 1)
    return channels if max(channels) < 256 else None


def wanted_ports(option: str) -> tuple[int, int] | None:
    """The client's ports in one option of a `Transport` header, None where it does not ask for unicast UDP."""
    kind = option.partition(";")[0].upper()
    match = re.search(r"client_port=(\d{1,5})(?:-(\d{1,5}))?", option)
    if kind not in ("RTP/AVP", "RTP/AVP/UDP") or "multicast" in option or match is None:
        return None
    ports = (int(match[1]), int(match[2] or int(match[1]) + 1))
    return ports if min(ports) > 0 and max(ports) < 65536 else None


class _Listener(asyncio.DatagramProtocol):
    """Receives what a client sends: reports, and the empty packets that open a firewall."""

    def __init__(self, client: str, heard: Callable[[], None]) -> None:
        self._client, self._heard = client, heard

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:  # noqa: ARG002 - asyncio calls it
        if addr[0] == self._client:
            self._heard()


def _port_pair(host: str) -> tuple[socket.socket, socket.socket]:
    """Sockets on an even port and the next one, as RTP wants it (RFC 3550 section 11)."""
    for _ in range(100):
        first = _bound(host, 0)
        port = first.getsockname()[1]
        try:
            if port % 2 == 0:
                return first, _bound(host, port + 1)
        except OSError:  # the neighbour is taken
            pass
        first.close()
    raise OSError(f"no pair of free UDP ports on {host}")


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    sock.settimeout(0)
    return sock
