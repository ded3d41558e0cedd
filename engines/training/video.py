"""Held-out footage as a subscriber's camera sends it: drawn at full size, through real H.264 and back."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np

from engines.errors import MissingExtraError
from engines.scene import Scene
from engines.training.footage import Picture, due_frames, shrink
from engines.training.lanes import Footage
from engines.training.recipe import Evaluation
from engines.training.targets import Grid, evidence, moments

KEYFRAME_EVERY_S = 2


def film_h264(seed: int, how: Evaluation, rate_hz: float, size: tuple[int, int], grid: Grid) -> Footage:
    """Watch one scene from its start as H.264 video, sampled at `rate_hz`.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    cv2.setNumThreads(1)
    scene = Scene(seed, how.width, how.height, how.fps)
    count = int(how.seconds * how.fps)
    due = set(due_frames(how.fps, rate_hz, how.seconds))
    drawn = (scene.frame(index) for index in range(count))
    seen = through_h264(drawn, how) if how.h264_kbit else drawn
    frames = [shrink(frame, size) for index, frame in enumerate(seen) if index in due]
    times = np.array(sorted(due)) / how.fps
    facts = np.array([moments(scene, float(time_s)) for time_s in times])
    bits = np.stack([evidence(scene, float(time_s), grid) for time_s in times])
    return Footage(np.stack(frames), times, facts[:, 0], facts[:, 1], bits)


def through_h264(frames: Iterator[Picture], how: Evaluation) -> Iterator[Picture]:
    """Encode with libx264 as a live camera would, decode, and yield pictures in order; both held in memory only."""
    try:
        import av  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise MissingExtraError("evaluation over H.264", "av", "train") from error
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = how.width, how.height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 90000), Fraction(how.fps).limit_denominator(1001)
    encoder.bit_rate, encoder.gop_size, encoder.thread_count = how.h264_kbit * 1000, int(KEYFRAME_EVERY_S * how.fps), 1
    encoder.options = {"preset": "veryfast", "tune": "zerolatency"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    for index, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="bgr24")
        picture.pts, picture.time_base = round(index * 90000 / how.fps), Fraction(1, 90000)
        for packet in encoder.encode(picture):
            for decoded in decoder.decode(packet):
                yield decoded.to_ndarray(format="bgr24")
    for packet in [*encoder.encode(None), None]:
        for decoded in decoder.decode(packet):
            yield decoded.to_ndarray(format="bgr24")
