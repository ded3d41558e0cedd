"""Capacity: the most cameras that the pipeline holds, found from a guess by doubling and then halving the interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pipeline.bench.load import Load


def search(trial: Callable[[int], Load], most: int, guess: int = 1) -> Iterator[Load]:
    """Yield each trial as it is made; the largest that held is the capacity.

    A number that failed only just is tried a second time, and counts as held where it holds then: a hiccup of the
    machine must not decide. Both trials are yielded.
    """
    held, failed, cameras = 0, most + 1, min(max(guess, 1), most)
    while held < cameras < failed:
        loads = list(_tries(trial, cameras))
        yield from loads
        held, failed = (cameras, failed) if loads[-1].held else (held, cameras)
        cameras = min(2 * held, most) if failed > most else (held + failed) // 2


def _tries(trial: Callable[[int], Load], cameras: int) -> Iterator[Load]:
    first = trial(cameras)
    yield first
    if first.nearly:
        yield trial(cameras)


def capacity(loads: Sequence[Load]) -> int:
    """The most cameras that held."""
    return max((load.cameras for load in loads if load.held), default=0)


def at_capacity(loads: Sequence[Load]) -> Load | None:
    """The trial with the most cameras that held."""
    return max((load for load in loads if load.held), key=lambda load: load.cameras, default=None)
