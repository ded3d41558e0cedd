"""Samples of one input in the order of their times, as many as memory allows: which one a frame goes with."""

from __future__ import annotations

from bisect import bisect_right, insort

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class Timeline:
    """At most `most` samples on one clock; of too many the oldest go. Frames ask in the order of their times."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._samples: list[tuple[int, int, Vector]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, at_ns: int, values: Vector) -> None:
        """Place a sample; of two at the same time the later one counts."""
        self._count += 1
        # the count stands before the values, which have no order
        insort(self._samples, (at_ns, self._count, values), key=_order)
        if len(self._samples) > self._most:
            del self._samples[0]

    def newest(self, now_ns: int) -> tuple[int, Vector] | None:
        """Time and values of the newest sample that is not after `now_ns`; those before it are forgotten."""
        index = bisect_right(self._samples, now_ns, key=lambda sample: sample[0])
        if not index:
            return None
        del self._samples[: index - 1]
        at_ns, _, values = self._samples[0]
        return at_ns, values


def _order(sample: tuple[int, int, Vector]) -> tuple[int, int]:
    return sample[:2]
