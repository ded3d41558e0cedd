"""The sampling grid: periods of `1 / rate_hz` seconds, counted from media time 0; of each a sampler takes one frame.

Serving, training and evaluation share it. It imports next to nothing, since each capture process does import it.
"""

from __future__ import annotations

import math

TOLERANCE_S = 5e-3
"""A frame a hair before a boundary (clocks round and jitter) still counts as on it."""


def sampling_cell(media_time_s: float, rate_hz: float) -> int:
    """The number of the sampling period that a frame falls into; the sampler takes the first frame of each."""
    return math.floor((media_time_s + TOLERANCE_S) * rate_hz + 1e-9)


def cell_start(cell: int, rate_hz: float) -> float:
    """The least media time in seconds that `sampling_cell` puts into `cell`."""
    return (cell - 1e-9) / rate_hz - TOLERANCE_S
