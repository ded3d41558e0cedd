"""Makes a camera's pictures anew where a fault wants them frozen or of another size."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

from pipeline.fakecam.encoder import Encoder
from pipeline.fakecam.faults import Freeze, Resize
from pipeline.fakecam.media import Encoding, StreamFormat
from pipeline.rtsp.h264 import AccessUnit

_START_CODE = b"\x00\x00\x00\x01"
_GOP_BYTES = 64 * 1024 * 1024  # a file with fewer IDR pictures than that is frozen at its next one


class Studio:
    """Follows one run of pictures. Used by one thread at a time.

    It decodes only while a fault lasts: the pictures since the last IDR picture are kept, coded, to begin with.
    """

    def __init__(self, shown: StreamFormat) -> None:
        self._format = shown
        self._gop: list[AccessUnit] = []
        self._gop_bytes = 0
        self._decoder: Any = None
        self._encoder: Encoder | None = None
        self._recipe: object = None
        self._frame: Any = None
        self._held: Any = None
        self._still: list[AccessUnit] = []

    @property
    def busy(self) -> bool:
        """Whether the camera's own next picture cannot be sent before an IDR picture of its own comes."""
        return self._decoder is not None

    def follow(self, unit: AccessUnit) -> None:
        """Take note of a picture; each in its order, before `alter`."""
        if unit.idr:
            self._gop, self._gop_bytes = [], 0
        self._gop.append(unit)
        self._gop_bytes += sum(map(len, unit.nals))
        if self._gop_bytes > _GOP_BYTES:
            self._gop = [unit]

    def alter(self, unit: AccessUnit, freeze: Freeze | None, resize: Resize | None, *, fresh: bool) -> AccessUnit:
        """The picture to send instead of the one last followed; `fresh` makes an IDR picture."""
        if freeze is None and resize is None and unit.idr:
            self._decoder = self._encoder = self._frame = self._held = self._recipe = None
            return unit
        self._decode(unit)
        if self._frame is None:
            return unit
        self._held = (self._held or self._frame) if freeze else None
        encoder = self._prepared(freeze, resize)
        if freeze and freeze.kind == "exact":
            return self._repeated(unit.timestamp, encoder)
        frame = self._held or self._frame
        return encoder.encode(self._noisy(frame, freeze), unit.timestamp, fresh=fresh)

    def _decode(self, unit: AccessUnit) -> None:
        units = [unit]
        if self._decoder is None:
            self._decoder, units = _decoder(), self._gop
        for one in units:
            packet = av.Packet(b"".join(_START_CODE + nal for nal in one.nals))
            with contextlib.suppress(av.error.InvalidDataError):  # a file may have flaws of its own
                for frame in self._decoder.decode(packet):
                    self._frame = frame

    def _prepared(self, freeze: Freeze | None, resize: Resize | None) -> Encoder:
        """The encoder for these faults; a new one begins with an IDR picture and parameter sets of its own."""
        recipe = freeze, resize
        if self._encoder is None or recipe != self._recipe:
            self._encoder, self._recipe, self._still = Encoder(altered(self._format, resize)), recipe, []
            self._dice = np.random.default_rng(freeze.seed if freeze else 0)
        return self._encoder

    def _repeated(self, timestamp: int, encoder: Encoder) -> AccessUnit:
        """One of two IDR pictures that decode to the same: two in a row must differ in `idr_pic_id` (H.264 7.4.3)."""
        if not self._still:  # the encoder's very first picture is finer than those that follow it
            self._still = [encoder.encode(self._held, timestamp + k, fresh=True) for k in range(3)][1:]
        first, second = self._still
        self._still = [second, first]
        return AccessUnit(first.nals, timestamp, idr=True)

    def _noisy(self, frame: Any, freeze: Freeze | None) -> Any:
        if freeze is None or freeze.kind != "noisy":
            return frame
        planes = frame.to_ndarray(format="yuv420p")
        luma = planes[: frame.height]
        luma[:] = np.clip(luma + self._dice.normal(0, freeze.noise, luma.shape), 0, 255)
        return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def altered(shown: StreamFormat, resize: Resize | None) -> Encoding:
    """How pictures are made anew."""
    width, height = (resize.width, resize.height) if resize else (shown.width, shown.height)
    return Encoding(width // 2 * 2, height // 2 * 2, min(shown.frame_rate, 240.0))


@lru_cache(maxsize=16)
def altered_format(encoding: Encoding) -> StreamFormat:
    """The parameter sets that such pictures carry."""
    return Encoder(encoding).format


def _decoder() -> Any:
    context = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    context.flags |= Flags.low_delay
    return context
