"""RTCP packets that a sender owes its receivers: sender report and goodbye (RFC 3550 section 6)."""

from __future__ import annotations

import struct

SENDER_REPORT, SOURCE_DESCRIPTION, GOODBYE = 200, 202, 203

_NTP_EPOCH_S = 2_208_988_800  # from 1900 to 1970


def sender_report(*, ssrc: int, wall_ns: int, timestamp: int, packets: int, octets: int, name: str) -> bytes:
    """A compound packet that ties an RTP timestamp to the wall clock and gives the source its canonical name."""
    seconds, nanoseconds = divmod(wall_ns, 1_000_000_000)
    fraction = (nanoseconds << 32) // 1_000_000_000
    ntp = struct.pack(">II", (seconds + _NTP_EPOCH_S) & 0xFFFFFFFF, fraction)
    counts = struct.pack(">III", timestamp, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)
    return _packet(SENDER_REPORT, 0, struct.pack(">I", ssrc) + ntp + counts) + _description(ssrc, name)


def goodbye(*, ssrc: int, name: str) -> bytes:
    """The end of a stream: an empty receiver report, the name and BYE (a compound packet)."""
    source = struct.pack(">I", ssrc)
    return _packet(201, 0, source) + _description(ssrc, name) + _packet(GOODBYE, 1, source)


def _description(ssrc: int, name: str) -> bytes:
    text = name.encode()[:255]
    chunk = struct.pack(">IBB", ssrc, 1, len(text)) + text + b"\x00"
    return _packet(SOURCE_DESCRIPTION, 1, chunk + b"\x00" * (-len(chunk) % 4))


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body
