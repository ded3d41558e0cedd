"""Held-out footage as a subscriber's camera sends it: drawn at full size, through real H.264 and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import MissingExtraError
from engines.scene import Scene
from engines.shrink import shrunk
from engines.training.scene.footage import Picture, due_frames
from engines.training.scene.recipe import Evaluation

KEYFRAME_EVERY_S = 2


@dataclass(frozen=True)
class Film:
    """What the network sees of one scene: pictures uint8 `[F, H, W, 3]` BGR and their media times."""

    frames: NDArray[np.uint8]
    times_s: NDArray[np.float64]


def film_h264(
    seed: int, how: Evaluation, rate_hz: float, size: tuple[int, int], *, left_s: tuple[float, float] | None = None
) -> Film:
    """Watch one scene from its start as H.264 video, sampled at `rate_hz`; uncompressed where `h264_kbit` is 0.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    cv2.setNumThreads(1)
    scene = Scene(seed, how.width, how.height, how.fps, left_s=left_s)
    due = list(due_frames(how.fps, rate_hz, how.seconds))
    drawn = (scene.frame(index) for index in range(due[-1] + 1))
    seen = through_h264(drawn, how) if how.h264_kbit else drawn
    wanted = set(due)
    frames = [shrunk(frame, size) for index, frame in enumerate(seen) if index in wanted]
    return Film(np.stack(frames), np.array(due) / how.fps)


def through_h264(frames: Iterator[Picture], how: Evaluation) -> Iterator[Picture]:
    """Encode with libx264 as a live camera would, decode, and yield pictures in order; all in memory."""
    try:
        import av  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise MissingExtraError("evaluation over H.264", "av", "train") from error
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = how.width, how.height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 90000), Fraction(how.fps).limit_denominator(1001)
    encoder.bit_rate, encoder.gop_size = how.h264_kbit * 1000, int(KEYFRAME_EVERY_S * how.fps)
    encoder.thread_count, encoder.options = 1, {"preset": "veryfast", "tune": "zerolatency"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    for index, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="bgr24")
        picture.pts, picture.time_base = round(index * 90000 / how.fps), Fraction(1, 90000)
        for packet in encoder.encode(picture):
            yield from (np.asarray(decoded.to_ndarray(format="bgr24"), np.uint8) for decoded in decoder.decode(packet))
    for packet in [*encoder.encode(None), None]:
        yield from (np.asarray(decoded.to_ndarray(format="bgr24"), np.uint8) for decoded in decoder.decode(packet))
