"""The batcher: which cameras' frames go into the next batch, at most one each, so that every state steps in order.

`fit` is the encoder's: of so many pictures, how many make a batch that is worth starting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.capture.supervisor import CameraSupervisor


class LiveBatcher:
    """Takes whoever has a frame, in turn; never waits for anyone.

    While the encoder is busy frames gather by themselves, so batches grow with the load and a lone camera pays nothing.
    What is ready is shared between the requests that are free, so that all cores work on it.
    """

    def __init__(self, cameras: Sequence[CameraSupervisor], fit: Callable[[int], int]) -> None:
        self._cameras = list(cameras)
        self._fit = fit
        self._first = 0

    def next(self, free: int = 1) -> list[CameraSupervisor]:
        """The cameras of the next batch, or none, while `free` requests (at least 1) wait for work."""
        turn = self._cameras[self._first :] + self._cameras[: self._first]
        ready = [camera for camera in turn if camera.ring.backlog]
        if not ready:
            return []
        chosen = ready[: self._fit(-(-len(ready) // free))]
        if len(chosen) < len(ready):
            self._first = (self._cameras.index(chosen[-1]) + 1) % len(self._cameras)
        return chosen


@dataclass(frozen=True)
class _Round:
    """One frame of each file, cut into batches."""

    left: tuple[CameraSupervisor, ...] = ()


class FileBatcher:
    """Walks all files in step, one frame of each per round, so that every run forms the very same batches."""

    def __init__(self, cameras: Sequence[CameraSupervisor], fit: Callable[[int], int]) -> None:
        self._cameras = list(cameras)
        self._fit = fit
        self._round = _Round()

    def next(self, free: int = 1) -> list[CameraSupervisor]:  # noqa: ARG002 - how many are free depends on the moment
        """The next part of the round; none while a file that is not over has no frame yet."""
        if not self._round.left:
            self._round = self._gather()
        if not self._round.left:
            return []
        size = self._fit(len(self._round.left))
        batch = self._round.left[:size]
        self._round = _Round(self._round.left[size:])
        return list(batch)

    def _gather(self) -> _Round:
        if any(not camera.ring.backlog and not camera.over for camera in self._cameras):
            return _Round()
        return _Round(tuple(camera for camera in self._cameras if camera.ring.backlog))


Batcher = LiveBatcher | FileBatcher


def make_batcher(cameras: Sequence[CameraSupervisor], fit: Callable[[int], int]) -> Batcher:
    """In step where all sources are files, else whoever comes."""
    if any(camera.plan.source.live for camera in cameras):
        return LiveBatcher(cameras, fit)
    return FileBatcher(cameras, fit)
