"""Capacity: the most cameras that the pipeline holds, found by doubling and then halving the interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.bench.load import Load


def search(trial: Callable[[int], Load], most: int) -> Iterator[Load]:
    """Yield each trial as it is made; the largest that held is the capacity."""
    held, failed, cameras = 0, most + 1, 1
    while cameras <= most and failed - held > 1:
        load = trial(cameras)
        yield load
        held, failed = (cameras, failed) if load.held else (held, cameras)
        cameras = min(2 * held, most) if failed > most else (held + failed) // 2
        if cameras in (held, failed):
            return


def capacity(loads: list[Load]) -> int:
    """The most cameras that held."""
    return max((load.cameras for load in loads if load.held), default=0)
