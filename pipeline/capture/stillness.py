"""A picture that stands still: told from a scene in which nothing happens by the noise that a living sensor has.

A frozen feed is not the same bytes again and again: each key frame is coded anew and looks a little different, and an
encoder spends the frames after it on getting closer. But a frozen picture has few such looks, and they come back with
every key frame. A sensor has noise, so that each key frame of even the stillest scene is a look that was never there
before. So looks are remembered, and a picture counts as frozen once nothing has moved for a while and no new look has
come for half of it. What was measured, and where it ends: docs/configuration.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Luma = npt.NDArray[np.uint8]

_SAME = 0.6  # mean absolute difference in levels of 255, up to which two pictures are one look
_SAME_EVERYWHERE = 24  # levels by which no pixel may differ then: the digits of a clock do
_MOVED = 3.0  # from this mean difference on it is no matter of coding or noise
_LOOKS = 16
_NOISY = 8  # so many new looks in a row are noise, and none of them will come back


class Stillness:
    """Judges the pictures of one connection in their order; `after_s` of media time without a change: frozen."""

    def __init__(self, after_s: float) -> None:
        import cv2  # noqa: PLC0415 - only what sees pictures needs it

        self._cv2: Any = cv2
        self._after_ns = after_s * 1e9
        self._looks: list[Luma] = []  # the one seen last at the end
        self._moved_ns = self._new_ns = 0
        self._streak = 0

    def look(self, luma: Luma, media_ns: int) -> bool:
        """Whether the picture stands still; `luma` is uint8 `[height, width]`, and nobody writes into it later."""
        nearest = self._recognise(luma) if self._looks else _MOVED
        if nearest >= _MOVED:
            self._looks = [luma]
            self._moved_ns = self._new_ns = media_ns
        elif nearest > 0:
            self._streak += 1
            self._looks = [*self._looks[1 - _LOOKS :], luma] if self._streak < _NOISY else [luma]
            self._new_ns = media_ns
        if nearest in (0.0, _MOVED):
            self._streak = 0
        return media_ns - self._moved_ns >= self._after_ns and media_ns - self._new_ns >= self._after_ns / 2

    def forget(self) -> None:
        """Begin anew with the next picture."""
        self._looks = []

    def _recognise(self, luma: Luma) -> float:
        """0 where the look is known (it goes to the end then), else the mean difference from the nearest one."""
        nearest = float("inf")
        for at in range(len(self._looks) - 1, -1, -1):
            mean = self._cv2.norm(luma, self._looks[at], self._cv2.NORM_L1) / luma.size
            if mean <= _SAME and self._cv2.norm(luma, self._looks[at], self._cv2.NORM_INF) < _SAME_EVERYWHERE:
                self._looks.append(self._looks.pop(at))
                return 0.0
            nearest = min(nearest, mean)
        return nearest
