"""What a capture process is told at its start, and what it says beside its frames."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec

CREDIT = b"c"
"""Parent to capture process: half of the ring is free again (sources that wait)."""


class Order(msgspec.Struct, frozen=True):
    """Everything one capture process needs; sent over its socket, never on a command line."""

    kind: Literal["rtsp", "http", "device", "file", "scene"]
    address: str
    ring_fd: int
    log_fd: int
    rope_fd: int  # of the bell that is rung for each frame
    slots: int
    height: int
    width: int
    rate_hz: float
    open_timeout_ms: int
    read_timeout_ms: int
    patient: bool = False  # frames wait for a moment when nobody reads, and have times of their own: RTSP over TCP
    capture: Literal["opencv", "pyav"] = "opencv"
    transport: Literal["tcp", "udp"] = "tcp"
    tls_verify: bool = True
    ca_file: str | None = None  # certificates to trust instead of the system's
    crop: tuple[float, float, float, float] | None = None  # x, y, width, height as fractions of the picture
    resume_media_ns: int | None = None  # the camera's media clock at `resume_monotonic_ns`
    resume_monotonic_ns: int = 0
    last_size: tuple[int, int] | None = None  # the last that was told of the connection before this one
    frozen_after_s: float = 8.0  # of media time without any change: the picture is frozen
    hold_frozen: bool = False  # frames of a frozen picture are kept back

    def __repr__(self) -> str:
        """Without the address, which is a secret."""
        return f"Order({self.kind}, {self.width}x{self.height} at {self.rate_hz:g} Hz)"


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The source is open; it counts as running only with its first frame. One that `waits` needs credits."""

    width: int
    height: int
    fps: float
    waits: bool


class Running(msgspec.Struct, frozen=True, tag="running"):
    """The first frame lies in the ring. From then on its token in the pipe `wake_fd` tells of each."""


class Resized(msgspec.Struct, frozen=True, tag="resized"):
    """The picture size changed in the middle of the stream; OpenCV tells it in whole blocks, 640x368 for 640x360."""

    width: int
    height: int


class Stillness(msgspec.Struct, frozen=True, tag="stillness"):
    """The picture was found to stand still while frames come, or to move again."""

    frozen: bool


class EndReason(str, Enum):
    """Why a connection ended: a small set, so that reconnects can be counted by it."""

    FINISHED = "finished"
    """A file was read to its end."""
    FAILED = "failed"
    """A file, or the settings of a scene, cannot be read: trying again is no use."""
    AUTH_FAILED = "auth_failed"
    """Wrong credentials: to be tried again slowly, since cameras lock accounts."""
    UNSUPPORTED = "unsupported"
    """No video, or none that can be decoded here: to be tried again slowly."""
    UNREACHABLE = "unreachable"
    """No way leads there, or nothing listens."""
    TIMEOUT = "timeout"
    """It did not answer in time."""
    ERROR = "error"
    """It answered with anything else than a stream."""
    NO_PICTURE = "no_picture"
    """It was opened and then sent nothing that gives a picture."""
    STALL = "stall"
    """Frames stayed away for longer than the stall limit."""
    EOF = "eof"
    """The other side ended or broke off the stream."""
    DAMAGED = "damaged"
    """Data came but gave no picture for a while."""
    CRASHED = "crashed"
    """The capture process died or could not be started."""
    HUNG = "hung"
    """The capture process gave no sign of life and was ended."""


FINAL = (EndReason.FINISHED, EndReason.FAILED)
SLOW = (EndReason.AUTH_FAILED, EndReason.UNSUPPORTED)


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The capture process is about to leave: why, and the same as a sentence for people."""

    reason: EndReason
    detail: str


Notice = Opened | Running | Resized | Stillness | Ended

_encoder = msgspec.msgpack.Encoder()
_order_decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_notice_decoder: msgspec.msgpack.Decoder[Notice] = msgspec.msgpack.Decoder(Notice)


def encode(message: Order | Notice) -> bytes:
    """The message as bytes for the capture socket."""
    return _encoder.encode(message)


def decode_order(data: bytes) -> Order:
    """Read an order back."""
    return _order_decoder.decode(data)


def decode_notice(data: bytes) -> Notice:
    """Read a notice back."""
    return _notice_decoder.decode(data)
