"""The procedural test scene: pictures and ground truth of an endless world that one seed fixes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.errors import SourceError
from engines.scene import labels
from engines.scene.renderer import Renderer
from engines.scene.schedule import Schedule
from engines.scene.truth import Truth

DEFAULT_SEED = 77
"""Shows all four labels within its first twenty seconds."""


class Scene:
    """A world that is a function of continuous time, seen at one size and rate.

    Args:
        seed: fixes everything that happens and how it looks; size and rate change neither.
        width: picture width in pixels.
        height: picture height in pixels.
        fps: pictures a second; frame `index` shows the time `index / fps`.
        pace: how quickly visits follow each other; 1 is lively.
        left_s: shortest and longest time that left luggage stands; None for a mixture of 4 to 110 s.

    Raises:
        SourceError: a size, rate or pace that shows nothing.
    """

    def __init__(
        self,
        seed: int = DEFAULT_SEED,
        width: int = 640,
        height: int = 360,
        fps: float = 15.0,
        *,
        pace: float = 1.0,
        left_s: tuple[float, float] | None = None,
    ) -> None:
        if seed < 0:
            raise SourceError(f"a scene's seed must be 0 or more, found {seed}")
        if width < 16 or height < 16 or not fps > 0 or not pace > 0:
            raise SourceError(
                f"a scene needs at least 16x16 pixels and a rate above 0, found {width}x{height} at {fps:g} frames/s"
            )
        self.seed, self.width, self.height, self.fps = seed, width, height, fps
        self.schedule = Schedule(seed, pace=pace, left_s=left_s)
        self._renderer = Renderer(self.schedule, seed, width, height)

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, uint8 `[height, width, 3]` BGR; any order is allowed, forward order is cheapest."""
        return self._renderer.render(index / self.fps, index)

    def truth(self, time_s: float) -> Truth:
        """Label and facts at a time."""
        return labels.truth_at(self.schedule, time_s)

    def label(self, time_s: float) -> str:
        """The label at a time."""
        return labels.label_at(self.schedule, time_s)

    def intervals(self, start_s: float, end_s: float) -> list[tuple[float, float, str]]:
        """Maximal runs `(start_s, end_s, label)` of one label between two times, in order, without holes."""
        return labels.intervals(self.schedule, start_s, end_s)
