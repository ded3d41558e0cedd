"""One camera's memory as a record that outlives the process: state tensors, age and the model they belong to."""

from __future__ import annotations

import zlib

import msgspec

from engines.errors import ModelError

_CRC_BYTES = 4


class SavedTensor(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One row of one state tensor: its shape without the batch, and its float32 values, little-endian, C order."""

    shape: tuple[int, ...]
    data: bytes


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """The state of one camera after `age_steps` steps and `age_s` seconds of media time, keyed by state input name."""

    model_sha: str
    age_steps: int
    age_s: float
    tensors: dict[str, SavedTensor]


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The snapshot as CRC-32 (4 bytes, big-endian) and msgpack."""
    body = msgspec.msgpack.encode(snapshot)
    return zlib.crc32(body).to_bytes(_CRC_BYTES, "big") + body


def decode_snapshot(data: bytes) -> Snapshot:
    """Read what `encode_snapshot` wrote.

    Raises:
        ModelError: the bytes are cut short, changed, or no snapshot.
    """
    crc, body = data[:_CRC_BYTES], data[_CRC_BYTES:]
    if len(crc) < _CRC_BYTES or zlib.crc32(body).to_bytes(_CRC_BYTES, "big") != crc:
        raise ModelError(f"a saved state of {len(data)} bytes is damaged (its CRC does not match): start without it")
    try:
        return msgspec.msgpack.decode(body, type=Snapshot)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"a saved state has another format ({error}): start without it") from error
