"""The light of a scene over continuous time: slow drifts, clouds and lamps that go on and off."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SWITCH_EVERY_S = 40.0
"""One time slot in which the lamp may be switched once."""


class Light:
    """Gain of each colour channel as a function of time."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        self._seed = seed
        self._level = float(rng.uniform(0.75, 1.1))
        self._tint = rng.uniform(-0.06, 0.06, 3)
        self._waves = [
            (float(rng.uniform(0.02, 0.07)), float(rng.uniform(25, 140)), float(rng.uniform(0, 6.3))) for _ in range(3)
        ]
        self._lamp = float(rng.uniform(0.12, 0.3)) * float(rng.random() < 0.6)
        self._lamp_tint = np.array([-0.35, 0.0, 0.2]) * float(rng.uniform(0.0, 1.0))
        self.slant = float(rng.uniform(-1.0, 1.0))

    def gain(self, time_s: float) -> NDArray[np.float64]:
        """Gains of blue, green and red, float64 `[3]`."""
        slow = sum(height * math.sin(2 * math.pi * time_s / period + start) for height, period, start in self._waves)
        lamp = self._lamp * self._lamp_on(time_s)
        gains: NDArray[np.float64] = (self._level + slow + lamp) * (1.0 + self._tint + lamp * self._lamp_tint)
        return gains

    def _lamp_on(self, time_s: float) -> float:
        """0 or 1 with a transition of a tenth of a second; each slot draws its own moment and target."""
        slot = math.floor(time_s / SWITCH_EVERY_S)
        before = _slot(self._seed, slot - 1)[1]
        moment, after = _slot(self._seed, slot)
        share = min(max((time_s - slot * SWITCH_EVERY_S - moment) / 0.1, 0.0), 1.0)
        return before + share * (after - before)


@lru_cache(maxsize=64)
def _slot(seed: int, slot: int) -> tuple[float, float]:
    """When in its slot the lamp is switched, and to what (0 or 1); a pure function, hence cached."""
    rng = np.random.default_rng([seed, 3, slot + 2])
    return float(rng.uniform(0.0, SWITCH_EVERY_S - 1.0)), float(rng.random() < 0.5)
