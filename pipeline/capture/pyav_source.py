"""Frames by PyAV: FFmpeg packet by packet, which shows what OpenCV hides (damage, sizes, reasons)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.errors import (
    MissingExtraError,
    SilentSourceError,
    SourceError,
    UnsupportedSourceError,
)
from pipeline.capture.decoder_log import NO_NEWS, DecoderNews
from pipeline.capture.frame_times import FrameTimes
from pipeline.capture.limits import MAX_PIXELS, check_size, ffmpeg_address, ffmpeg_options, read_ahead
from pipeline.capture.packet_loss import PacketLoss
from pipeline.capture.refusal import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.capture.protocol import Order
    from pipeline.capture.ring import Picture

_MOST_FAILURES = 1000  # in a row; each is a part of the container that could not be read
_LONGEST_S = 0.5  # in one `grab` of a live source that sends nothing but damage


class PyAvSource:
    """One video stream, demuxed packet by packet and decoded by one thread.

    `fps` is 0 where the stream does not tell, `frame_count` 0 where it has no end.
    """

    def __init__(self, order: Order) -> None:
        self._av, reformatter = _import_av()
        import cv2  # noqa: PLC0415 - what shrinks the pictures; it must not start threads either

        cv2.setNumThreads(1)
        self._order = order
        self._loss = PacketLoss(self._av.logging) if order.kind == "rtsp" and order.transport == "udp" else None
        self._container = self._open()
        try:
            stream = self._video()
        except SourceError:
            self._container.close()
            raise
        self.width, self.height = stream.width, stream.height
        self.fps = float(stream.average_rate or stream.guessed_rate or 0)
        self.frame_count = _frame_count(stream, self._container, self.fps)
        self._stream, self._decoder = stream, stream.codec_context
        self.read_ahead = read_ahead(order, self._decoder.name)
        self._packets = self._container.demux(stream)
        self._start, self._tick_ms = stream.start_time or 0, 1000.0 * stream.time_base
        self._times = FrameTimes(self.fps, fill=order.kind == "rtsp")
        self._reformatter = reformatter()
        # bicubic as in OpenCV, which matters for more than 8 bits; PyAV converts with many threads from version 17 on
        one_thread = {"threads": 1} if int(self._av.__version__.split(".")[0]) >= 17 else {}
        self._conversion = {"format": "bgr24", "interpolation": "BICUBIC", **one_thread}
        self._frames: Iterator[Any] = iter(())
        self._frame: Any = None
        self._position_ms = 0.0
        self._errors = 0
        self._size = (self.width, self.height)
        self._told_size: tuple[int, int] | None = None
        self._live = order.kind == "rtsp" or (order.kind == "http" and not self.frame_count)
        self._untimed = self._container.format.name == "mpjpeg"  # FFmpeg stamps them as if they came at 25 a second
        self._opened_s = time.monotonic()

    def grab(self) -> bool:
        """Demux and decode up to the next frame, without converting it; damaged packets are counted and passed over."""
        until_s = time.monotonic() + _LONGEST_S
        while (frame := next(self._frames, None)) is None:
            # asked before each further packet, not after: one that was long in coming may well hold a frame
            if self._live and time.monotonic() > until_s:
                return False
            packet = self._next_packet()
            if packet is None:
                return False
            self._frames = iter(self._decode(packet))
        if self._loss is not None:
            self._errors += self._loss.take()
        self._heed(frame)
        self._frame = frame
        return True

    def position_ms(self) -> float:
        """The frame's time after the start of the stream; where the stream has none, the time since it was opened."""
        return 1e3 * (time.monotonic() - self._opened_s) if self._untimed else self._position_ms

    def is_intra(self) -> bool:
        """Whether FFmpeg calls it a key frame or an I picture."""
        return bool(self._frame.key_frame) or self._frame.pict_type == 1  # AV_PICTURE_TYPE_I

    def retrieve(self) -> Picture:
        """Convert to BGR, pixel by pixel as OpenCV does; no copy."""
        frame = self._reformatter.reformat(self._frame, **self._conversion)
        plane = frame.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
        return rows[:, : 3 * frame.width].reshape(frame.height, frame.width, 3)

    def news(self) -> DecoderNews:
        """Damaged packets and frames, and the picture size where it is new."""
        if not self._errors and self._size == self._told_size:
            return NO_NEWS
        size = None if self._size == self._told_size else self._size
        news, self._errors, self._told_size = DecoderNews(self._errors, size), 0, self._size
        return news

    def release(self) -> None:
        """Close the stream; an RTSP camera is told."""
        self._container.close()
        if self._loss is not None:
            self._loss.close()

    def _open(self) -> Any:
        order, error = self._order, self._av.error
        limits = (order.open_timeout_ms / 1e3, order.read_timeout_ms / 1e3)
        options = ffmpeg_options(order) | {"max_pixels": str(MAX_PIXELS)}
        try:
            return self._av.open(ffmpeg_address(order), options=options, timeout=limits)
        # PyAV's own messages hold the address with its password, so none of them may be shown or chained
        except (error.HTTPUnauthorizedError, error.HTTPForbiddenError):
            raise refusal(order.address) from None
        except error.ExitError:
            raise SourceError(f"it has not opened within {limits[0]:g} s") from None
        except (error.FFmpegError, OSError, ValueError) as failure:
            raise SourceError(f"it does not open as video: {_reason(failure)}") from None

    def _video(self) -> Any:
        streams = self._container.streams.video
        if not streams:
            raise UnsupportedSourceError("it has no video")
        stream = streams[0]
        if stream.codec_context is None:
            raise SourceError("its video is in a format that cannot be decoded")
        check_size(stream.width, stream.height)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return stream

    def _next_packet(self) -> Any:
        """None at the end of a file; a live stream's end is an error."""
        error = self._av.error
        for _ in range(_MOST_FAILURES):
            try:
                packet = next(self._packets, None)
            except error.ExitError:
                raise SilentSourceError(f"no frame for {self._order.read_timeout_ms / 1e3:.1f} s") from None
            except (error.InvalidDataError, IndexError):  # the latter where a stream appears that was not announced
                self._errors += 1
                self._packets = self._container.demux(self._stream)  # a generator ends with its first exception
            except (error.FFmpegError, OSError) as failure:
                raise SourceError(f"the stream broke off: {_reason(failure)}") from None
            else:
                if packet is None and self._live:
                    raise SourceError("the stream ended")
                return packet
        raise SourceError("the container is damaged")

    def _decode(self, packet: Any) -> list[Any]:
        self._errors += packet.is_corrupt
        try:
            frames: list[Any] = self._decoder.decode(packet)
        except (self._av.error.FFmpegError, OSError, ValueError, MemoryError):
            self._errors += 1
            return []
        return frames

    def _heed(self, frame: Any) -> None:
        check_size(frame.width, frame.height)
        self._errors += frame.is_corrupt
        self._size = (frame.width, frame.height)
        # the decoding time, brought into the order of display, is what OpenCV goes by too; they differ in AVI only
        stamp = frame.pts if frame.dts is None else frame.dts
        self._position_ms = self._times.place(None if stamp is None else (stamp - self._start) * self._tick_ms)


def _import_av() -> tuple[Any, Any]:
    try:
        import av  # noqa: PLC0415 - optional
        import av.logging  # noqa: PLC0415
        from av.video.reformatter import VideoReformatter  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("capture: pyav", "av", "pyav") from None
    return av, VideoReformatter


def _frame_count(stream: Any, container: Any, fps: float) -> int:
    if stream.frames or container.duration is None:
        return int(stream.frames)
    return int(container.duration / 1e6 * fps + 0.5)


def _reason(error: Exception) -> str:
    """Without the address, which PyAV adds."""
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
