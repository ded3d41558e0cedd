"""H.264 streams that are damaged on purpose: access units changed at random by a seed, and pictures far too large."""

from __future__ import annotations

import random
from pathlib import Path

from videos import write_video

from pipeline.rtsp.h264 import IDR_SLICE, SPS, nal_type, split_annexb

_START = b"\0\0\0\1"


def write_damaged(path: Path, units: int, seed: int) -> Path:
    """A raw stream: 30 good pictures, then so many units, nine of ten damaged and each tenth a whole IDR picture.

    Without the good ones FFmpeg may take the file for something else.
    """
    rng = random.Random(seed)
    nals = _nals(path.with_suffix(".whole.h264"))
    head = [nal for nal in nals if nal_type(nal) in (7, 8)][:2]
    idr = next(nal for nal in nals if nal_type(nal) == IDR_SLICE)
    pictures = [nal for nal in nals if nal_type(nal) in (1, IDR_SLICE)]
    out = list(nals)
    for number in range(units):
        if number % 10 == 0:
            out += [*head, idr]
        else:
            out += _mutated([*(head if rng.random() < 0.1 else ()), rng.choice(pictures)], rng)
    path.write_bytes(b"".join(_START + nal for nal in out))
    return path


def write_bomb(path: Path, blocks: int, *, after: int = 0) -> Path:
    """A raw stream that announces pictures of `blocks` x `blocks` macroblocks of 16x16, after so many good pictures."""
    nals = _nals(path.with_suffix(".whole.h264"), max(after, 15))
    bomb = [_sps(blocks) if nal_type(nal) == SPS else nal for nal in nals]
    path.write_bytes(b"".join(_START + nal for nal in ([*nals, *bomb] if after else bomb)))
    return path


def _nals(path: Path, frames: int = 30) -> tuple[bytes, ...]:
    return tuple(split_annexb(write_video(path, frames, width=160, height=128).read_bytes()))


def _mutated(nals: list[bytes], rng: random.Random) -> list[bytes]:
    at = rng.randrange(len(nals))
    nal = bytearray(nals[at])
    kind = rng.randrange(7)
    if kind == 0:
        for _ in range(rng.randint(1, 50)):
            nal[rng.randrange(len(nal))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del nal[rng.randrange(1, len(nal)) :]
    elif kind == 2:
        nal[0] = rng.randrange(256)
    elif kind == 3:
        nal += rng.randbytes(rng.randint(1, 5000))
    elif kind == 4:
        first = rng.randrange(1, len(nal))
        nal[first : first + 20] = bytes(20)
    elif kind == 5:
        nal[1:] = rng.randbytes(len(nal) - 1)
    else:
        nals = nals * 2
    nals[at] = bytes(nal)
    return nals


def _sps(blocks: int) -> bytes:
    """A sequence parameter set (H.264 7.3.2.1.1): baseline profile, level 6.2, one reference picture, no cropping."""
    bits = _ue(0) + _ue(0) + _ue(2) + _ue(1) + "0" + _ue(blocks - 1) * 2 + "1" + "1" + "0" + "0" + "1"
    bits += "0" * (-len(bits) % 8)
    return bytes([0x67, 66, 0xC0, 62]) + int(bits, 2).to_bytes(len(bits) // 8, "big")


def _ue(value: int) -> str:
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits
