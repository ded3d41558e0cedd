"""RTP packets out of H.264 access units and back (RFC 3550 section 5.1; RFC 6184: single NAL units and FU-A)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from engines.errors import ProtocolError
from pipeline.rtsp.h264 import AccessUnit

PAYLOAD_TYPE = 96
MAX_PAYLOAD_BYTES = 1400  # fits an Ethernet frame with all headers

_HEADER = struct.Struct(">BBHII")
_FU_A = 28
_MARKER = 0x80


@dataclass(frozen=True)
class RtpPacket:
    """The parts of an RTP packet that this project uses."""

    sequence: int  # 16 bits
    timestamp: int  # 32 bits, ticks of 90 kHz
    ssrc: int
    marker: bool  # set on the last packet of a picture
    payload: bytes


class Packetizer:
    """Numbers and packs the access units that go to one client. Not thread-safe."""

    def __init__(self, *, ssrc: int, first_sequence: int, first_timestamp: int) -> None:
        self.ssrc = ssrc
        self.packets = 0
        self.octets = 0
        self._first_sequence = first_sequence
        self._first_timestamp = first_timestamp
        self._origin: int | None = None

    def pack(self, unit: AccessUnit) -> list[bytes]:
        """The packets of one picture; the client's clock starts at its first picture."""
        timestamp = self.timestamp(unit)
        payloads = [payload for nal in unit.nals for payload in fragment(nal)]
        last = len(payloads) - 1
        return [self._packet(payload, timestamp, marker=at == last) for at, payload in enumerate(payloads)]

    def timestamp(self, unit: AccessUnit) -> int:
        """The RTP timestamp of a picture, modulo 2**32."""
        if self._origin is None:
            self._origin = unit.timestamp
        return (self._first_timestamp + unit.timestamp - self._origin) & 0xFFFFFFFF

    def _packet(self, payload: bytes, timestamp: int, *, marker: bool) -> bytes:
        sequence = (self._first_sequence + self.packets) & 0xFFFF
        self.packets += 1
        self.octets += len(payload)
        return _HEADER.pack(0x80, PAYLOAD_TYPE | (_MARKER if marker else 0), sequence, timestamp, self.ssrc) + payload


def fragment(nal: bytes, limit: int = MAX_PAYLOAD_BYTES) -> Iterator[bytes]:
    """The RTP payloads of one NAL unit: itself, or fragments of type FU-A (RFC 6184 section 5.8)."""
    if len(nal) <= limit:
        yield nal
        return
    indicator, kind = nal[0] & 0xE0 | _FU_A, nal[0] & 0x1F
    for at in range(1, len(nal), limit - 2):
        start, end = at == 1, at + limit - 2 >= len(nal)
        yield bytes((indicator, start << 7 | end << 6 | kind)) + nal[at : at + limit - 2]


def parse_rtp(data: bytes) -> RtpPacket:
    """Take a packet apart; contributing sources, an extension and padding are passed over. Raises ProtocolError."""
    if len(data) < _HEADER.size or data[0] >> 6 != 2:
        raise ProtocolError(f"{data[:12].hex()} is no RTP packet")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    start = _HEADER.size + 4 * (first & 0x0F)
    if first & 0x10:
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data) - (data[-1] if first & 0x20 else 0)
    return RtpPacket(sequence, timestamp, ssrc, bool(second & _MARKER), data[start:end])


def defragment(payloads: list[bytes]) -> tuple[bytes, ...]:
    """The NAL units of one picture from its payloads in order. Raises ProtocolError where a fragment is missing."""
    nals: list[bytes] = []
    parts: list[bytes] = []
    for payload in payloads:
        if len(payload) < (2 if payload[:1] and payload[0] & 0x1F == _FU_A else 1):
            raise ProtocolError("an RTP packet is cut off before its H.264 NAL unit")
        if payload[0] & 0x1F != _FU_A:
            nals.append(payload)
            continue
        start, end = payload[1] & 0x80, payload[1] & 0x40
        if bool(start) == bool(parts):
            raise ProtocolError("a fragment of an H.264 NAL unit is missing")
        parts.append(bytes((payload[0] & 0xE0 | payload[1] & 0x1F,)) + payload[2:] if start else payload[2:])
        if end:
            nals.append(b"".join(parts))
            parts = []
    if parts:
        raise ProtocolError("the last fragment of an H.264 NAL unit is missing")
    return tuple(nals)
