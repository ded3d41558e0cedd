"""Cross-validation by group: each video is judged by a network that never saw its group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.answers import Answers
from engines.training.store import load_shard, save_shard


@dataclass(frozen=True)
class FoldResult:
    """What the network of one fold says of the fold's held-out videos.

    Attributes:
        best_epoch: the epoch with the best validation, from 1.
        answers: logits of every epoch, float32 `[epochs, F, labels]`, all videos one after the other.
        carried: logits of the best epoch with the state carried over the videos in `order`, float32 `[F, labels]`.
        order: int64, in which the stream shows the videos.
        simple: by the baseline's name the probabilities of each clip, float64 `[clips, labels]`.
    """

    best_epoch: int
    answers: NDArray[np.float32]
    carried: NDArray[np.float32]
    order: NDArray[np.int64]
    simple: dict[str, NDArray[np.float64]]


def judging_epochs(best: Sequence[int], reached: Sequence[int]) -> list[int]:
    """For each fold the median of the best epochs of the others, as far as it got: its own never decides for it."""
    others = [[epoch for index, epoch in enumerate(best) if index != fold] for fold in range(len(best))]
    return [min(round(float(np.median(each))), got) for each, got in zip(others, reached, strict=True)]


def final_epochs(best: Sequence[int]) -> int:
    """How long the network learns that learns from all videos."""
    return round(float(np.median(best)))


def pieces(logits: NDArray[np.float32], lengths: Sequence[int]) -> Answers:
    """Logits of videos one after the other, taken apart."""
    return list(np.split(logits, np.cumsum(lengths)[:-1]))


def save_fold(path: Path, result: FoldResult, digest: str) -> None:
    """Keep a fold's result; raises TrainingError where the disk is full."""
    arrays: dict[str, NDArray[Any]] = {f"simple {name}": table for name, table in result.simple.items()}
    arrays |= {"best_epoch": np.array(result.best_epoch), "digest": np.array(digest)}
    arrays |= {"answers": result.answers, "carried": result.carried, "order": result.order}
    save_shard(path, arrays)


def load_fold(path: Path, digest: str) -> FoldResult | None:
    """A result that was kept for the same recipe and data; None where there is none, or a damaged one."""
    arrays = load_shard(path)
    if arrays is None or str(arrays.get("digest")) != digest:
        return None
    simple = {name.removeprefix("simple "): table for name, table in arrays.items() if name.startswith("simple ")}
    return FoldResult(int(arrays["best_epoch"]), arrays["answers"], arrays["carried"], arrays["order"], simple)
