"""Generated training data on disk, in shards that are made once, in parallel, and survive a restart."""

from __future__ import annotations

import multiprocessing
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from engines.errors import TrainingError

Given = TypeVar("Given")
Made = TypeVar("Made")
Arrays = dict[str, np.ndarray]


def in_order(function: Callable[[Given], Made], items: Iterable[Given], workers: int) -> Iterator[Made]:
    """Like `map`, in worker processes, never more than a few results ahead; in this process for one worker."""
    if workers <= 1:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        ahead: deque[Future[Made]] = deque()
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def save_shard(path: Path, arrays: Arrays) -> None:
    """Write a shard in one step; the folder is made if need be.

    Raises:
        TrainingError: the disk is full or the folder cannot be written.
    """
    part = path.with_suffix(".part.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(part, **arrays)  # type: ignore[arg-type]
        part.replace(path)
    except OSError as error:
        raise TrainingError(
            f"training data cannot be written to {path}: {error.strerror}: free space or change --out"
        ) from error


def load_shard(path: Path) -> Arrays | None:
    """The arrays of a shard, or None where there is none or a damaged one, which is then made again."""
    try:
        # opened here, since np.load leaves a damaged file open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as shard:
            return {name: shard[name] for name in shard.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        return None
