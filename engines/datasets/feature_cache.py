"""Features of videos kept on disk, one file per video and way of seeing it, so that each is encoded once."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engines.datasets.draws import Draw
from engines.training.store import load_shard, save_shard

_LAYOUT = 1  # grows when the same settings come to mean other features


@dataclass(frozen=True)
class EncodedVideo:
    """Features floating point `[F, *features]` of one video in one view, and their times, float64 `[F]` in seconds."""

    features: npt.NDArray[np.floating[Any]]
    times_s: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Taking:
    """How frames are taken and encoded: `encoder_id` names the encoder's weights, `size` is (height, width)."""

    encoder_id: str
    rate_hz: float
    size: tuple[int, int]
    half: bool


def key(video: Path, taking: Taking, drawn: Draw) -> str:
    """A name for the features that changes with the file (path, size, time of change), the encoder and the settings."""
    facts = video.stat()
    known = (_LAYOUT, str(video.resolve()), facts.st_size, facts.st_mtime_ns, asdict(taking), asdict(drawn))
    return hashlib.sha256(msgspec.json.encode(known)).hexdigest()[:32]


def load(folder: Path, name: str) -> EncodedVideo | None:
    """What was kept under the name, or None where there is nothing or a damaged file."""
    arrays = load_shard(folder / f"{name}.npz")
    if arrays is None or not {"features", "times_s"} <= arrays.keys():
        return None
    encoded = EncodedVideo(arrays["features"], arrays["times_s"])
    return encoded if len(encoded.features) == len(encoded.times_s) > 0 else None


def save(folder: Path, name: str, encoded: EncodedVideo) -> None:
    """Keep features under a name, in one step.

    Raises:
        TrainingError: the disk is full or the folder cannot be written.
    """
    save_shard(folder / f"{name}.npz", {"features": encoded.features, "times_s": encoded.times_s})
