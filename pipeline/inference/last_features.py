"""Features of each camera's newest frame: a frame that equals the one before it takes them and is not encoded again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.capture.ring import FrameHeader

Features = NDArray[np.float32]


class LastFeatures:
    """Of all cameras of one model. Exact: the frames are equal byte for byte, so their features are too.

    The recurrent step runs all the same: time passes while a picture stands still.
    """

    def __init__(self) -> None:
        self._newest: dict[str, Features] = {}

    def forget(self, camera: str) -> None:
        """Let a camera go."""
        self._newest.pop(camera, None)

    def complete(self, frames: Iterable[tuple[str, FrameHeader]], encoded: Features) -> Features:
        """The features of a batch in its order, `[N, *features]`; call it in the order of each camera's frames.

        Args:
            frames: camera and header of each of the N frames.
            encoded: features of those that are no repetition, in their order.
        """
        fresh = iter(encoded)
        found, repeated = [], False
        for camera, header in frames:
            if header.repeats:
                repeated = True
            else:
                self._newest[camera] = next(fresh)
            found.append(self._newest[camera])
        return np.stack(found) if repeated else encoded
