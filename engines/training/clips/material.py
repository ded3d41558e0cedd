"""What a training on labelled video learns from and is judged on: features, or frames where the encoder is tuned."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from engines.datasets.draws import Augmentation
from engines.datasets.encoding import Encode
from engines.datasets.features import encode_dataset
from engines.datasets.labelled import Dataset, LabelledVideo, Skipped
from engines.errors import ConfigError
from engines.families.contract import StreamModel
from engines.training.clips.division import Division, divide
from engines.training.encoding_engine import frozen_encoding
from engines.training.features import encode
from engines.training.progress import reporter
from engines.training.recipe import Recipe
from engines.training.sequences import FeatureSequence

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Material:
    """Sequences of all usable videos.

    Attributes:
        dataset: what was read, without the videos that cannot be used.
        division: of these.
        skipped: files that were left out.
        views: by the video's name its sequence in each view; videos that only judge have the plain one.
    """

    dataset: Dataset
    division: Division
    skipped: tuple[Skipped, ...]
    views: dict[str, tuple[FeatureSequence, ...]]

    @property
    def whole(self) -> bool:
        """Whether every video is one clip, none of them marked in parts."""
        return all(span.whole for video in self.dataset.videos for span in video.spans)

    @property
    def unit(self) -> str:
        """What is judged as one."""
        return "clips" if self.whole else "intervals, each scored as one clip however long it is"

    @property
    def summary(self) -> str:
        """How many videos of how many groups there are, and what judges them."""
        videos, groups = self.dataset.videos, {video.group for video in self.dataset.videos}
        counts = f"{len(videos)} videos of {len(groups)} groups, {len(self.skipped)} skipped"
        given = "" if self.dataset.grouped else (
            ". No groups were given: every file counts as a source of its own, and figures flatter if several files "
            "come from one source"
        )  # fmt: skip
        return f"{counts}; judged on {self.division.how}{given}"

    def train_views(self, videos: Sequence[LabelledVideo]) -> list[list[FeatureSequence]]:
        """For each view the sequences of videos."""
        return [list(view) for view in zip(*(self.views[video.name] for video in videos), strict=True)]

    def plain(self, videos: Sequence[LabelledVideo]) -> list[FeatureSequence]:
        """The sequences of videos as serving sees them."""
        return [self.views[video.name][0] for video in videos]


def prepare(dataset: Dataset, recipe: Recipe, model: StreamModel, cache: Path, console: Console) -> Material:
    """Divide the dataset and encode its videos; what was encoded before comes from the folder `cache`.

    Raises:
        ConfigError: an encoder is to learn beside further inputs.
        DataError: the dataset cannot be divided as the recipe says, features are not finite, or no video is left.
    """
    if model.further and recipe.fine_tuned:
        raise ConfigError(
            f"the family {recipe.family} reads further inputs beside the encoder's features, which stay as they are: "
            "write encoder: frozen"
        )
    division = divide(dataset, recipe)  # before the long work, so that a mistake is told at once
    views: dict[str, tuple[FeatureSequence, ...]] = {}
    skipped = [*dataset.skipped]
    how = _encode(model, recipe)
    for videos, count in ((division.learnt, recipe.data.views), (division.judging, 1)):
        if not videos:
            continue
        with reporter(console, "encoding videos", len(videos)) as news:
            encoded = encode_dataset(
                videos,
                how,
                rate_hz=model.fps,
                size=model.frame_shape,
                labels=dataset.labels,
                encoder_id="frames" if recipe.fine_tuned else encoder_identity(model),
                views=count,
                augmentation=recipe.data.augment if recipe.data.augment != Augmentation() else None,
                seed=recipe.seed,
                cache=cache,
                news=news,
                half=not recipe.fine_tuned,
                further=model.further,
            )
        skipped += encoded.skipped
        rows = zip(*encoded.views, strict=True)
        views |= {video.name: row for video, row in zip(encoded.videos, rows, strict=True)}
    usable = replace(dataset, videos=tuple(v for v in dataset.videos if v.name in views), skipped=tuple(skipped))
    if len(views) < len(division.learnt) + len(division.judging):
        # divided anew, a video may come to be learnt from that only judged: it needs its other views
        return prepare(usable, recipe, model, cache, console)
    return Material(usable, division, usable.skipped, views)


def with_features(sequences: Sequence[FeatureSequence], model: StreamModel) -> list[FeatureSequence]:
    """The same sequences with the encoder's features in place of frames."""
    model.eval()
    return [
        replace(each, features=encode(model, each.features)) if each.features.dtype == np.uint8 else each
        for each in sequences
    ]


def video_alone(sequences: Sequence[FeatureSequence], model: StreamModel) -> list[FeatureSequence]:
    """The same sequences with the encoder's vector alone, nothing behind it: what baselines see."""
    if not model.further and model.described is None:
        return list(sequences)
    width = model.features[0] if model.described is None else model.described
    return [replace(each, features=each.features[:, :width]) for each in sequences]


def encoder_identity(model: StreamModel) -> str:
    """What the encoder is: its class, the shape of its features, and SHA-256 of its weights and constants."""
    digest = hashlib.sha256()
    # constants too, such as how a map is averaged, which no state dict holds
    for name, value in (*model.encoder.named_parameters(), *model.encoder.named_buffers()):
        array: NDArray[np.generic] = value.detach().cpu().numpy()
        digest.update(name.encode() + array.tobytes())
    return f"{type(model.encoder).__qualname__}{list(model.features)}-{digest.hexdigest()[:24]}"


def _encode(model: StreamModel, recipe: Recipe) -> Encode:
    if recipe.fine_tuned:
        return lambda frames: frames  # kept as they are: the encoder is yet to learn
    made: list[Encode] = []

    def encode_frozen(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not made:  # only now: where everything comes from the cache, no engine has to be made
            made.append(frozen_encoding(model))
        return made[0](frames)

    return encode_frozen
