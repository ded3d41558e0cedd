"""TensorBoard logs of a training, one run for each of its stages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import MissingExtraError
from engines.training.loop import Log

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Ctrl-C while a figure is handed over may rob the writer's thread of its wake-up; closing then waits until it flushes
# by itself, by default for up to two minutes
FLUSH_S = 1


@contextmanager
def board(folder: Path, stage: str, first_update: int) -> Iterator[Log]:
    """Where the figures of a stage go; what an earlier try wrote from `first_update` on is hidden.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional, and slow to import
    except ModuleNotFoundError as error:
        raise MissingExtraError("vidpipe train", "tensorboard", "train") from error
    writer = SummaryWriter(str(folder / stage), purge_step=first_update + 1, flush_secs=FLUSH_S)
    try:
        yield partial(_write, writer)
    finally:
        writer.close()


def _write(writer: SummaryWriter, name: str, value: float, step: int) -> None:
    writer.add_scalar(name, value, step)
