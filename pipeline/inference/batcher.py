"""The batcher: which cameras' frames go into the next batch, at most one each, so that every state steps in order.

`fit` is the encoder's: of so many pictures, how many make a batch that is worth starting.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipeline.capture.supervisor import CameraSupervisor


class LiveBatcher:
    """Takes frames in the order in which they came; never waits for anyone.

    While the encoder is busy frames gather by themselves, so batches grow with the load and a lone camera pays nothing.
    What is ready is shared between the requests that are free, so that all cores work on it.
    """

    def __init__(self, cameras: Sequence[CameraSupervisor], fit: Callable[[int], int]) -> None:
        self._cameras = list(cameras)
        self._fit = fit
        self._queue: deque[CameraSupervisor] = deque()

    def add(self, arrived: Iterable[CameraSupervisor]) -> None:
        """Frames have come, one for each entry."""
        self._queue.extend(arrived)

    def look(self) -> None:
        """Queue what lies in the rings and was not told: now and then, since word of a frame can get lost."""
        told = Counter(camera.plan.name for camera in self._queue)
        for camera in self._cameras:
            self._queue.extend([camera] * (camera.ring.backlog - told[camera.plan.name]))

    def next(self, free: int = 1) -> list[CameraSupervisor]:
        """The cameras of the next batch, or none, while `free` requests (at least 1) wait for work."""
        if not self._queue:
            return []
        wanted = self._fit(-(-len(self._queue) // free))
        chosen: dict[str, CameraSupervisor] = {}
        again: list[CameraSupervisor] = []
        while self._queue and len(chosen) < wanted:
            camera = self._queue.popleft()
            if camera.plan.name in chosen:
                again.append(camera)
            elif camera.ring.backlog:
                chosen[camera.plan.name] = camera
        batch = list(chosen.values())
        size = self._fit(len(batch)) if batch else 0
        self._queue.extendleft(reversed([*batch[size:], *again]))
        return batch[:size]


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
        return _Round(tuple(camera for camera in self._cameras if camera.ring.backlog))


Batcher = LiveBatcher | FileBatcher


def make_batcher(cameras: Sequence[CameraSupervisor], fit: Callable[[int], int]) -> Batcher:
    """In step where all sources are files, else whoever comes."""
    return LiveBatcher(cameras, fit) if any_live(cameras) else FileBatcher(cameras, fit)


def any_live(cameras: Sequence[CameraSupervisor]) -> bool:
    """Whether frames come when they come, and not when they are wanted."""
    return any(camera.plan.source.live for camera in cameras)
