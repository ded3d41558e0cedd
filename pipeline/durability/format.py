"""Checkpoints as bytes: a header with format version, length and CRC-32, then msgpack. No pickle, nothing that runs."""

from __future__ import annotations

import struct
import zlib

import msgspec

from engines.errors import ModelError
from pipeline.durability.records import Checkpoint

VERSION = 1
_MAGIC = b"vidpipe\n"
_HEAD = struct.Struct(">8sIQ")  # magic, format version, bytes of the body
_CRC = struct.Struct(">I")  # of head and body; between the two
_BODY_AT = _HEAD.size + _CRC.size

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Checkpoint)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as the bytes of a file."""
    body = _encoder.encode(checkpoint)
    head = _HEAD.pack(_MAGIC, VERSION, len(body))
    return b"".join((head, _CRC.pack(zlib.crc32(body, zlib.crc32(head))), body))


def decode_checkpoint(data: bytes) -> Checkpoint:
    """Read what `encode_checkpoint` wrote.

    Raises:
        ModelError: the bytes are no checkpoint, of another format version, cut short, changed, or out of bounds; the
            message goes on after "the checkpoint of camera0 is not used: ".
    """
    if len(data) < _BODY_AT:
        raise ModelError(f"it is cut off after {len(data)} bytes")
    magic, version, length = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ModelError("it is no checkpoint of vidpipe")
    if version != VERSION:
        raise ModelError(f"it has the format {version}, this vidpipe reads {VERSION}")
    body = memoryview(data)[_BODY_AT:]
    if length != len(body):
        raise ModelError(f"it is cut off: {len(body)} of {length} bytes are there")
    if zlib.crc32(body, zlib.crc32(data[: _HEAD.size])) != _CRC.unpack_from(data, _HEAD.size)[0]:
        raise ModelError("it is damaged (its CRC does not match)")
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ModelError(f"it holds something else than a checkpoint ({error})") from error
