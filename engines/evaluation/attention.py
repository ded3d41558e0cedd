"""What a network that attends looked at in a video: weights over each picture, and over its memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.datasets.footage import sampled_frames
from engines.encoder import Encoder
from engines.errors import DataError, ModelError
from engines.evaluation.offline import NotComparableError, WholeSequence

if TYPE_CHECKING:
    from engines.families.attention_lstm import AttentionLstm
    from engines.families.contract import State

BATCH = 8


@dataclass(frozen=True)
class Attended:
    """What a network made of F frames of a video.

    Attributes:
        times_s: float64 `[F]`, media time.
        frames: uint8 `[F, height, width, 3]` BGR.
        prob: float32 `[F, labels]`.
        spatial: float32 `[F, h, w]`, how much of each cell of the picture was taken in; they sum to 1.
        temporal: float32 `[F, memory]`, how much of each of the last steps was recalled, the newest last; sum 1.
    """

    times_s: NDArray[np.float64]
    frames: NDArray[np.uint8]
    prob: NDArray[np.float32]
    spatial: NDArray[np.float32]
    temporal: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.times_s)


def attended(
    bundle: Bundle, video: Path, *, start_s: float = 0.0, end_s: float = math.inf, backend: str = "auto"
) -> Attended:
    """Watch a video from its beginning, as serving would, and keep what was attended to from `start_s` to `end_s`.

    Raises:
        DataError: no frame lies in that time.
        ModelError: the bundle's family does not attend, or the bundle lacks the weights to tell how.
        UnreadableVideoError: the video is missing or damaged.
    """
    model = _attending(bundle)
    with Encoder.open(bundle, backend, max_batch=BATCH, requests=1) as encoder:
        parts = [part for part in _parts(model, encoder, bundle, video, end_s) if part.times_s[-1] >= start_s]
    names = ("times_s", "frames", "prob", "spatial", "temporal")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names} if parts else {}
    inside = (joined["times_s"] >= start_s) & (joined["times_s"] < end_s) if parts else np.zeros(0, np.bool_)
    if not inside.any():
        raise DataError(f"{video}: it has no frame from {start_s:g} s to {end_s:g} s")
    return Attended(**{name: array[inside] for name, array in joined.items()})


def _attending(bundle: Bundle) -> AttentionLstm:
    try:
        model = WholeSequence.load(bundle).model
    except NotComparableError as error:
        raise ModelError(f"bundle {bundle.name} cannot tell what it attends to: {error}") from error
    from engines.families.attention_lstm import AttentionLstm  # noqa: PLC0415 - needs torch

    if not isinstance(model, AttentionLstm):
        family = bundle.manifest.family
        raise ModelError(
            f"bundle {bundle.name} is of the family {family}, which has no weights to show: train one of attention_lstm"
        )
    return model


def _parts(model: AttentionLstm, encoder: Encoder, bundle: Bundle, video: Path, end_s: float) -> Iterator[Attended]:
    """The video in order, some frames at a time, with the state carried over."""
    shape, rate_hz = bundle.manifest.input, bundle.manifest.input.fps
    state, before_s = None, None
    for part in sampled_frames(video, rate_hz, (shape.height, shape.width), batch=BATCH):
        encoder.frames(0)[: len(part)] = part.frames
        encoder.start(0, len(part))
        features = np.array(encoder.wait(0), np.float32)
        first_s = part.times_s[0] - 1 / rate_hz if before_s is None else before_s
        dt, before_s = np.diff(part.times_s, prepend=first_s).astype(np.float32), float(part.times_s[-1])
        prob, spatial, temporal, state = _explained(model, features, dt, state)
        yield Attended(part.times_s, part.frames, prob, spatial, temporal)
        if before_s >= end_s:
            return


def _explained(
    model: AttentionLstm, features: NDArray[np.float32], dt: NDArray[np.float32], state: State | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], State]:
    import torch  # noqa: PLC0415 - optional

    with torch.inference_mode():
        found = model.explain(torch.from_numpy(features)[None], torch.from_numpy(dt)[None], state)
        prob = torch.softmax(found.logits[0] / model.temperature, 1)
    return prob.numpy(), found.spatial[0].numpy(), found.temporal[0].numpy(), found.state
