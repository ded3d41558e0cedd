"""H.264 streams cut into NAL units and access units (ITU-T H.264 Annex B; ISO/IEC 14496-15 for MP4)."""

from __future__ import annotations

from dataclasses import dataclass

from engines.errors import ProtocolError

CLOCK_HZ = 90_000  # the RTP clock of all video (RFC 3551)

SLICE, IDR_SLICE, SEI, SPS, PPS, DELIMITER, FILLER = 1, 5, 6, 7, 8, 9, 12


@dataclass(frozen=True)
class AccessUnit:
    """One coded picture; an IDR picture carries its parameter sets, so a decoder can start with it."""

    nals: tuple[bytes, ...]  # without start codes
    timestamp: int  # media time in ticks of 90 kHz, from 0
    idr: bool


@dataclass(frozen=True)
class AvccConfig:
    """The decoder configuration that an MP4 file keeps outside its packets."""

    length_bytes: int  # of the size before each NAL unit
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]


def nal_type(nal: bytes) -> int:
    """`nal_unit_type`, the low five bits of the first byte."""
    return nal[0] & 0x1F


def split_annexb(data: bytes) -> tuple[bytes, ...]:
    """NAL units between start codes; zero bytes after a unit do not belong to it."""
    pieces = data.split(b"\x00\x00\x01")[1:]
    return tuple(nal for piece in pieces if (nal := piece.rstrip(b"\x00")))


def split_avcc(data: bytes, length_bytes: int) -> tuple[bytes, ...]:
    """NAL units that each follow their size. Raises ProtocolError where the sizes do not add up."""
    nals, at = [], 0
    while at < len(data):
        start = at + length_bytes
        at = start + int.from_bytes(data[at:start], "big")
        if at > len(data):
            raise ProtocolError(f"an H.264 packet of {len(data)} bytes ends inside a NAL unit")
        nals.append(data[start:at])
    return tuple(nal for nal in nals if nal)


def parse_avcc_config(data: bytes) -> AvccConfig:
    """AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3). Raises ProtocolError."""
    if len(data) < 7 or data[0] != 1:
        raise ProtocolError("the H.264 configuration record is damaged")
    sps, at = _counted(data, 6, data[5] & 0x1F)
    pps, _ = _counted(data, at + 1, data[at] if at < len(data) else 0)
    return AvccConfig((data[4] & 3) + 1, sps, pps)


def pictures_only(nals: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Without parameter sets, delimiters and filler: what is left is the same in Annex B and in MP4 files."""
    return tuple(nal for nal in nals if nal_type(nal) not in (SPS, PPS, DELIMITER, FILLER))


def _counted(data: bytes, at: int, count: int) -> tuple[tuple[bytes, ...], int]:
    found = []
    for _ in range(count):
        size = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    if at > len(data):
        raise ProtocolError("the H.264 configuration record is cut off")
    return tuple(found), at
