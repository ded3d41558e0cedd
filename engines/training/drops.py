"""Frames that are lost in bursts, as networks and overload lose them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHORTEST_MEAN, LONGEST_MEAN = 2.0, 4.0
"""Range of the mean length of a burst, in frames."""


def kept_steps(steps: int, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of those of `steps` frames that are not lost; never none.

    Runs of kept and lost frames take turns, their lengths geometric (Gilbert 1960's channel), so that a share `rate`
    is lost in the long run. The mean burst is drawn between 2 and 4 frames.
    """
    everything = np.arange(steps)
    if rate <= 0.0:
        return everything
    # between bursts at least one frame is kept, so very high rates need longer bursts
    burst = max(rng.uniform(SHORTEST_MEAN, LONGEST_MEAN), rate / (1.0 - rate))
    pause = burst * (1.0 - rate) / rate
    pairs = int(2 * steps / (burst + pause)) + 8
    lengths = np.stack([rng.geometric(1.0 / pause, pairs), rng.geometric(1.0 / burst, pairs)], 1).ravel()
    lost = np.repeat(np.tile([False, True], pairs), lengths)
    # enter the pattern anywhere, so that the first frames are lost as often as any
    lost = np.roll(lost, int(rng.integers(0, len(lost))))
    lost = np.resize(lost, steps)
    return everything if lost.all() else everything[~lost]
