"""Labelled videos as feature sequences: encoded once per view, kept on disk, bad files counted and named."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engines.datasets import feature_cache
from engines.datasets.draws import Augmentation, Draw, check_augmentation, draw
from engines.datasets.encoding import PLAIN, Encode, encode_video, step_labels
from engines.datasets.feature_cache import EncodedVideo, Taking
from engines.datasets.footage import check_file
from engines.datasets.inputs import accompany, read_inputs
from engines.datasets.labelled import LabelledVideo, Skipped
from engines.datasets.naming import check_label
from engines.errors import DataError, UnreadableVideoError
from engines.further import FurtherInput
from engines.training.sequences import FeatureSequence

if TYPE_CHECKING:
    from engines.training.progress import Reporter


@dataclass(frozen=True)
class Encoded:
    """Feature sequences of videos, seen in several ways.

    Attributes:
        views: for each view the sequences of `videos` in order; view 0 is plain, the others are augmented.
        videos: those that could be used.
        skipped: those that could not, and why.
    """

    views: tuple[tuple[FeatureSequence, ...], ...]
    videos: tuple[LabelledVideo, ...]
    skipped: tuple[Skipped, ...]

    @property
    def plain(self) -> tuple[FeatureSequence, ...]:
        """View 0: the videos as serving sees them."""
        return self.views[0]


def encode_dataset(
    videos: Sequence[LabelledVideo],
    encode: Encode,
    *,
    rate_hz: float,
    size: tuple[int, int],
    labels: Sequence[str],
    encoder_id: str,
    views: int = 1,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    cache: Path | None = None,
    news: Reporter | None = None,
    half: bool = True,
    further: Sequence[FurtherInput] = (),
) -> Encoded:
    """Encode each video once per view at `size` (height, width), with a label for each step by the spans that hold it.

    The draw of a view follows from the seed, the video's name and the view's number, not from the order; an
    augmentation that changes nothing gives one view only. Features are kept in the folder `cache` for as long as file,
    encoder and settings stay the same. They are float16 unless a value is too large for it or `half` is false. `news`
    hears of each video. One that cannot be read or is marked where it has no frame is skipped. Where the model reads
    `further` inputs they stand behind the features, as a step reads them.

    Raises:
        DataError: features are NaN or infinite, a label is not among `labels`, no video is left, or the augmentation
            does not suit the labels.
        TrainingError: the cache cannot be written.
    """
    _check(videos, labels, augmentation)
    taking = Taking(encoder_id, rate_hz, size, half)
    seen: list[list[FeatureSequence]] = []
    used: list[LabelledVideo] = []
    skipped: list[Skipped] = []
    for video in videos:
        try:
            draws = _draws(video, views, augmentation, seed, labels)
            encoded = [_encoded(video, encode, taking, drawn, cache) for drawn in draws]
            seen.append(
                [_sequence(video, one, drawn, labels, further) for one, drawn in zip(encoded, draws, strict=True)]
            )
            used.append(video)
        except UnreadableVideoError as error:
            skipped.append(Skipped(video.path, str(error)))
        if news is not None:
            news.advance(1, f"{len(skipped)} skipped" if skipped else "")
    if not used:
        raise DataError(f"not one of {len(videos)} videos can be used; the first: {skipped[0].reason}")
    return Encoded(tuple(zip(*seen, strict=True)), tuple(used), tuple(skipped))


def view_draw(augmentation: Augmentation, seed: int, name: str, view: int, labels: Sequence[str]) -> Draw:
    """The draw of one view of the video of this name."""
    digest = hashlib.sha256(f"{seed}/{view}/{name}".encode()).digest()
    return draw(augmentation, np.random.default_rng(int.from_bytes(digest[:16], "big")), labels)


def _check(videos: Sequence[LabelledVideo], labels: Sequence[str], augmentation: Augmentation | None) -> None:
    if not videos:
        raise DataError("there are no videos to encode: choose a split that has some")
    for video in videos:
        for span in video.spans:
            check_label(span.label, labels, str(video.path))
    if augmentation is not None:
        check_augmentation(augmentation, labels)


def _draws(
    video: LabelledVideo, views: int, augmentation: Augmentation | None, seed: int, labels: Sequence[str]
) -> list[Draw]:
    if augmentation is None or augmentation == Augmentation():
        return [PLAIN]
    return [PLAIN, *(view_draw(augmentation, seed, video.name, view, labels) for view in range(1, views))]


def _encoded(video: LabelledVideo, encode: Encode, taking: Taking, drawn: Draw, cache: Path | None) -> EncodedVideo:
    """From the cache where it is there and whole."""
    if cache is None:
        return encode_video(video, encode, taking, drawn)
    check_file(video.path)
    name = feature_cache.key(video.path, taking, drawn)
    encoded = feature_cache.load(cache, name)
    if encoded is None:
        encoded = encode_video(video, encode, taking, drawn)
        feature_cache.save(cache, name, encoded)
    return encoded


def _sequence(
    video: LabelledVideo, encoded: EncodedVideo, drawn: Draw, labels: Sequence[str], further: Sequence[FurtherInput]
) -> FeatureSequence:
    indices = step_labels(video, encoded.times_s, drawn, labels)
    features = encoded.features
    if further:
        features = accompany(features, encoded.times_s * drawn.speed, read_inputs(video.inputs, further), further)
    return FeatureSequence(video.name, video.group, features, encoded.times_s, indices)
