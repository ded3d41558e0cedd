"""The batcher: which cameras' frames go into the next batch, at most one each, so that every state steps in order.

`fit` is the encoder's: of so many pictures, how many make a batch that is worth starting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipeline.capture.supervisor import CameraSupervisor


class LiveBatcher:
    """Takes one frame of each camera that has some, in turn; never waits for anyone.

    While the encoder is busy frames gather by themselves, so batches grow with the load and a lone camera pays nothing.
    What is ready is shared between the requests that are free, so that all cores work on it.
    """

    def __init__(self, cameras: Sequence[CameraSupervisor], fit: Callable[[int], int]) -> None:
        self._cameras = list(cameras)
        self._fit = fit
        self._turns: dict[str, CameraSupervisor] = {}  # who waits for its turn, the longest first

    def add(self, arrived: Iterable[CameraSupervisor]) -> None:
        """Frames of these cameras have come."""
        for camera in arrived:
            self._turns.setdefault(camera.plan.name, camera)

    def look(self) -> None:
        """Find frames that were not told: now and then, since word of a frame can get lost."""
        self.add(camera for camera in self._cameras if camera.ring.backlog)

    def next(self, free: int = 1) -> list[CameraSupervisor]:
        """The cameras of the next batch, or none, while `free` requests (at least 1) wait for work."""
        if not self._turns:
            return []
        ready = [camera for camera in self._turns.values() if camera.ring.backlog]
        batch = ready[: self._fit(-(-len(ready) // free))] if ready else []
        self._turns = {camera.plan.name: camera for camera in ready[len(batch) :]}
        self.add(camera for camera in batch if camera.ring.backlog > 1)
        return batch


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

    def add(self, arrived: Iterable[CameraSupervisor]) -> None:
        """What came tells nothing: a round waits for every file."""

    def look(self) -> None:
        """The rings are looked at for every round."""

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
        return _Round(tuple([camera for camera in self._cameras if camera.ring.backlog]))


Batcher = LiveBatcher | FileBatcher


def make_batcher(cameras: Sequence[CameraSupervisor], fit: Callable[[int], int]) -> Batcher:
    """In step where all sources are files, else whoever comes."""
    return LiveBatcher(cameras, fit) if any_live(cameras) else FileBatcher(cameras, fit)


def any_live(cameras: Sequence[CameraSupervisor]) -> bool:
    """Whether frames come when they come, and not when they are wanted."""
    return any(camera.plan.source.live for camera in cameras)
