"""A cut: the picture shows another place all at once, as when a camera is turned or a source is switched.

Two things tell it from motion and from a light that is switched on. It changes far more than the pictures before it
did, and what is bright and dark in it lies elsewhere: the correlation of coarse pictures (zero-mean normalised
cross-correlation) is low, while another light keeps it high.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Luma = npt.NDArray[np.uint8]

_GRID = (16, 12)
_CHANGE = 12.0  # mean absolute difference in levels of 255
_TIMES_RECENT = 3.0
_LIKE = 0.5  # correlation from which on it is the same place
_FLAT = 16.0  # variance added to each picture's own, so that the noise of a flat one correlates with nothing
_LEARN = 0.1
_NEAR_NS = 1_000_000_000  # a picture that is older says nothing about all at once


class SceneCut:
    """Judges the pictures of one connection in their order."""

    def __init__(self) -> None:
        import cv2  # noqa: PLC0415 - only what sees pictures needs it

        self._cv2: Any = cv2
        self._before: Luma | None = None
        self._before_ns = 0
        self._recent = 0.0

    def look(self, luma: Luma, media_ns: int) -> bool:
        """Whether this picture is the first after a cut; uint8 `[height, width]`, and nobody writes into it later."""
        before, self._before = self._before, luma
        near = media_ns - self._before_ns <= _NEAR_NS
        self._before_ns = media_ns
        if before is None or before.shape != luma.shape or not near:
            return False
        change = float(self._cv2.norm(luma, before, self._cv2.NORM_L1)) / luma.size
        if change > max(_CHANGE, _TIMES_RECENT * self._recent) and self._likeness(luma, before) < _LIKE:
            return True
        self._recent += _LEARN * (change - self._recent)
        return False

    def _likeness(self, one: Luma, other: Luma) -> float:
        a, b = (
            self._cv2.resize(each, _GRID, interpolation=self._cv2.INTER_AREA).astype(float) for each in (one, other)
        )
        a, b = a - a.mean(), b - b.mean()
        return float((a * b).mean() / np.sqrt(((a * a).mean() + _FLAT) * ((b * b).mean() + _FLAT)))
