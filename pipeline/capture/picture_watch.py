"""Looks at each due picture of a connection for what no decoder tells: that it stands still, or was cut.

It sees single pixels of the picture as it came, not of the one that was made smaller for the model: averaging would
take away the noise by which a living camera is told from a frozen one. About 30 microseconds a picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.capture.ring import FrameFlag
from pipeline.capture.scene_cut import SceneCut
from pipeline.capture.stillness import Stillness

if TYPE_CHECKING:
    from pipeline.capture.ring import Picture

_SIDE = 192  # of the pixels that are looked at, along the longer side
_GREEN = 1  # most of what luma is made of, and it needs no arithmetic


class PictureWatch:
    """Belongs to one connection; a picture that stands still for `frozen_after_s` of media time is frozen."""

    def __init__(self, frozen_after_s: float) -> None:
        self._stillness = Stillness(frozen_after_s)
        self._cut = SceneCut()
        self._shape: tuple[int, ...] = ()

    def look(self, picture: Picture, media_ns: int) -> FrameFlag:
        """FROZEN, CUT or neither for the next picture, uint8 `[height, width, 3]` BGR of any size."""
        step = -(-max(picture.shape[:2]) // _SIDE)
        luma = np.ascontiguousarray(picture[::step, ::step, _GREEN])
        if picture.shape != self._shape:
            # nothing to compare with after a change of size
            self._shape, self._cut = picture.shape, SceneCut()
            self._stillness.forget()
        cut = self._cut.look(luma, media_ns)
        frozen = self._stillness.look(luma, media_ns)
        return (FrameFlag.CUT if cut else FrameFlag(0)) | (FrameFlag.FROZEN if frozen else FrameFlag(0))
