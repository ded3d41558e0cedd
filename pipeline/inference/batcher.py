"""The batcher: which cameras' frames go into the next batch, at most one each, so that every state steps in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.capture.supervisor import CameraSupervisor


class LiveBatcher:
    """Takes whoever has a frame, in turn; never waits for anyone.

    While the encoder is busy frames gather by themselves, so batches grow with the load and a lone camera pays nothing.
    """

    def __init__(self, cameras: Sequence[CameraSupervisor], max_batch: int) -> None:
        self._cameras = list(cameras)
        self._max_batch = max_batch
        self._first = 0

    def next(self) -> list[CameraSupervisor]:
        """The cameras of the next batch, or none."""
        turn = self._cameras[self._first :] + self._cameras[: self._first]
        chosen = [camera for camera in turn if camera.ring.backlog][: self._max_batch]
        if chosen and len(chosen) == self._max_batch:
            self._first = (self._cameras.index(chosen[-1]) + 1) % len(self._cameras)
        return chosen


@dataclass(frozen=True)
class _Round:
    """One frame of each file, cut into batches."""

    left: tuple[CameraSupervisor, ...] = ()


class FileBatcher:
    """Walks all files in step, one frame of each per round, so that every run forms the very same batches."""

    def __init__(self, cameras: Sequence[CameraSupervisor], max_batch: int) -> None:
        self._cameras = list(cameras)
        self._max_batch = max_batch
        self._round = _Round()

    def next(self) -> list[CameraSupervisor]:
        """The next part of the round; none while a file that is not over has no frame yet."""
        if not self._round.left:
            self._round = self._gather()
        batch = self._round.left[: self._max_batch]
        self._round = _Round(self._round.left[self._max_batch :])
        return list(batch)

    def _gather(self) -> _Round:
        if any(not camera.ring.backlog and not camera.over for camera in self._cameras):
            return _Round()
        return _Round(tuple(camera for camera in self._cameras if camera.ring.backlog))


Batcher = LiveBatcher | FileBatcher


def make_batcher(cameras: Sequence[CameraSupervisor], max_batch: int) -> Batcher:
    """In step where all sources are files, else whoever comes."""
    if any(camera.plan.source.live for camera in cameras):
        return LiveBatcher(cameras, max_batch)
    return FileBatcher(cameras, max_batch)
