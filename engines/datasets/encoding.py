"""One video in one view: decoded, augmented and encoded in batches, with a label for each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.datasets.augment import apply
from engines.datasets.draws import Draw
from engines.datasets.feature_cache import EncodedVideo, Taking
from engines.datasets.footage import SampledVideo, sampled_frames
from engines.datasets.intervals import labels_at
from engines.datasets.labelled import LabelledVideo, Span
from engines.errors import DataError, UnreadableVideoError
from engines.training.sequences import UNLABELLED

Frames = npt.NDArray[np.uint8]
Encode = Callable[[Frames], npt.NDArray[Any]]
"""uint8 `[N, height, width, 3]` BGR to float32 `[N, *features]`, or the frames themselves to be kept as uint8."""

PLAIN = Draw()
BATCH = 64
_LARGEST_HALF = float(np.finfo(np.float16).max)
_LATE_S = 1.0  # a mark that begins so long after the video's end is a mistake, not a rounding


def encode_video(video: LabelledVideo, encode: Encode, taking: Taking, drawn: Draw) -> EncodedVideo:
    """Features of all frames on the sampling grid, float16 where asked for and no value is too large for it.

    Raises:
        UnreadableVideoError: the file cannot be read.
        DataError: a feature is NaN or infinite; it names the video and the time.
    """
    features: list[npt.NDArray[Any]] = []
    times_s: list[npt.NDArray[np.float64]] = []
    first = 0
    for part in sampled_frames(video.path, taking.rate_hz, _room(taking.size, drawn), speed=drawn.speed, batch=BATCH):
        frames = part.frames if drawn == PLAIN else apply(part.frames, drawn, taking.size, first=first)
        made = np.array(encode(frames))  # a copy: an engine may use its output again
        _check_finite(video, made, part)
        features.append(made)
        times_s.append(part.times_s)
        first += len(part)
    whole = np.concatenate(features)
    fits = taking.half and float(np.abs(whole).max(initial=0.0)) <= _LARGEST_HALF
    return EncodedVideo(whole.astype(np.float16) if fits else whole, np.concatenate(times_s))


def step_labels(
    video: LabelledVideo, times_s: npt.NDArray[np.float64], drawn: Draw, labels: Sequence[str]
) -> npt.NDArray[np.int64]:
    """The label's index of each step, `UNLABELLED` outside of all spans.

    Raises:
        UnreadableVideoError: spans lie after the video's end, or no step lies in any.
    """
    media_s = times_s * drawn.speed
    for span in video.spans:
        _check_in_time(video, span, float(media_s[-1]))
    indices = np.array([drawn.label(index) for index in labels_at(media_s, video.spans, labels).tolist()], np.int64)
    if video.spans and (indices == UNLABELLED).all():
        raise UnreadableVideoError(f"{video.path}: no frame lies in its marked time; it ends at {media_s[-1]:.1f} s")
    return indices


def _room(size: tuple[int, int], drawn: Draw) -> tuple[int, int]:
    """The size to decode to, so that the shown part of it still has about as many pixels as the model sees."""
    return math.ceil(size[0] / drawn.extent[1]), math.ceil(size[1] / drawn.extent[0])


def _check_finite(video: LabelledVideo, features: npt.NDArray[np.floating[Any]], part: SampledVideo) -> None:
    finite = np.isfinite(features).reshape(len(features), -1).all(axis=1)
    if not finite.all():
        time_s = part.times_s[int(finite.argmin())]
        raise DataError(
            f"{video.path}: the encoder's features at {time_s:.2f} s are NaN or infinite: "
            "check the encoder's weights, or leave the video out"
        )


def _check_in_time(video: LabelledVideo, span: Span, last_s: float) -> None:
    if math.isfinite(span.end_s) and span.start_s > last_s + _LATE_S:
        raise UnreadableVideoError(
            f"{video.path}: the interval of {span.label!r} from {span.start_s:g} s lies after the video's end "
            f"({last_s:.1f} s): are its times in seconds?"
        )
