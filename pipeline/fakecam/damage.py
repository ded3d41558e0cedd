"""Damage on the way to one client: bit flips, cut NAL units and lost packets, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from pipeline.fakecam.board import View
from pipeline.fakecam.faults import Corrupt, Drop, Truncate
from pipeline.rtsp.h264 import IDR_SLICE, SLICE, AccessUnit, nal_type
from pipeline.rtsp.rtp import Packetizer

_RTP_HEADER_BYTES = 12
_FU_A = 28


class Damage:
    """What the faults of one connection do to its pictures; their random numbers begin anew with each fault."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._dice: dict[type, tuple[object, random.Random]] = {}

    def pack(self, unit: AccessUnit, packetizer: Packetizer) -> list[bytes]:
        """The packets of a picture that reach the client, as they reach it; maybe none."""
        if corrupt := self._view.find(Corrupt):
            dice = self._seeded(corrupt)
            unit = _changed(unit, corrupt.rate, dice, lambda nal: _flipped(nal, corrupt.flips, dice))
        if truncate := self._view.find(Truncate):
            cutting = self._seeded(truncate)
            unit = _changed(unit, truncate.rate, cutting, lambda nal: nal[: cutting.randrange(2, len(nal))])
        packets = packetizer.pack(unit)
        return self._thinned(packets, drop) if (drop := self._view.find(Drop)) else packets

    def _seeded(self, fault: Corrupt | Truncate | Drop) -> random.Random:
        known, dice = self._dice.get(type(fault), (None, random.Random()))  # noqa: S311 - damage, no secret
        if known is not fault:
            dice.seed(fault.seed)
            self._dice[type(fault)] = fault, dice
        return dice

    def _thinned(self, packets: list[bytes], drop: Drop) -> list[bytes]:
        dice = self._seeded(drop)
        if drop.unit == "packet":
            return [packet for packet in packets if dice.random() >= drop.rate]
        kept, lost = [], False
        for packet in packets:
            if _begins_nal(packet):
                lost = dice.random() < drop.rate
            if not lost:
                kept.append(packet)
        return kept


def _changed(unit: AccessUnit, rate: float, dice: random.Random, change: Callable[[bytes], bytes]) -> AccessUnit:
    """With a share of its slices changed; parameter sets stay whole, as their few bytes are seldom hit."""
    return replace(unit, nals=tuple(change(nal) if _hit(nal, rate, dice) else nal for nal in unit.nals))


def _hit(nal: bytes, rate: float, dice: random.Random) -> bool:
    return nal_type(nal) in (SLICE, IDR_SLICE) and len(nal) > 2 and dice.random() < rate


def _flipped(nal: bytes, flips: int, dice: random.Random) -> bytes:
    data = bytearray(nal)
    for _ in range(flips):
        data[dice.randrange(1, len(data))] ^= 1 << dice.randrange(8)  # the NAL unit's own header stays
    return bytes(data)


def _begins_nal(packet: bytes) -> bool:
    """Whether an RTP packet of this server holds a whole NAL unit or the first fragment of one (RFC 6184)."""
    payload = packet[_RTP_HEADER_BYTES:]
    return nal_type(payload) != _FU_A or bool(payload[1] & 0x80)
