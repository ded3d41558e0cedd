"""H.264 encoding with x264 through PyAV: one picture in, one access unit out, no delay and no B frames."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.codec.context import Flags
from av.video.frame import PictureType

from engines.errors import SourceError
from pipeline.fakecam.media import Encoding, StreamFormat
from pipeline.rtsp.h264 import CLOCK_HZ, PPS, SPS, AccessUnit, nal_type, pictures_only, split_annexb


class Encoder:
    """Encodes one run of pictures. Not thread-safe. Raises SourceError where x264 refuses the settings."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._context = _open(encoding)
        sets = split_annexb(bytes(self._context.extradata))
        self._sps = next(nal for nal in sets if nal_type(nal) == SPS)
        self._pps = next(nal for nal in sets if nal_type(nal) == PPS)

    @property
    def format(self) -> StreamFormat:
        """The parameter sets, known before the first picture and the same for the same settings."""
        encoding = self._encoding
        return StreamFormat(self._sps, self._pps, encoding.width, encoding.height, encoding.frame_rate)

    def encode(self, frame: av.VideoFrame, timestamp: int, *, fresh: bool) -> AccessUnit:
        """Encode a picture of any size and format at a rising `timestamp` in ticks of 90 kHz; `fresh` makes an IDR."""
        frame = frame.reformat(width=self._encoding.width, height=self._encoding.height, format="yuv420p")
        frame.pts, frame.time_base = timestamp, Fraction(1, CLOCK_HZ)
        frame.pict_type = PictureType.I if fresh else PictureType.NONE
        (packet,) = self._context.encode(frame)
        idr = bool(packet.is_keyframe)
        sets = (self._sps, self._pps) if idr else ()
        return AccessUnit(sets + pictures_only(split_annexb(bytes(packet))), timestamp, idr)


def _open(encoding: Encoding) -> Any:  # PyAV's stubs are not followed
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = encoding.width, encoding.height, "yuv420p"
    context.time_base = Fraction(1, CLOCK_HZ)
    context.framerate = Fraction(encoding.frame_rate).limit_denominator(1001)
    context.gop_size = max(1, round(encoding.gop_s * encoding.frame_rate))
    context.max_b_frames = 0
    context.thread_count = 1  # sliced threads cost more than they save at these sizes, and cameras run side by side
    context.flags |= Flags.global_header
    context.options = _options(encoding)
    try:
        context.open()
    except av.error.FFmpegError as error:
        raise SourceError(f"x264 refuses {encoding.width}x{encoding.height}: {error.strerror}") from error
    return context


def _options(encoding: Encoding) -> dict[str, str]:
    options = {"preset": "veryfast", "tune": "zerolatency", "forced-idr": "1", "x264-params": "scenecut=0:open-gop=0"}
    if encoding.bitrate is None:
        return options | {"crf": str(encoding.quality)}
    rate = str(encoding.bitrate)
    return options | {"b": rate, "maxrate": rate, "bufsize": rate}
