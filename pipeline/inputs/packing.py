"""What the steps of one model read: each frame's features with the newest samples of its further inputs behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.further import FurtherInput, pack
from pipeline.capture.ring import FrameHeader
from pipeline.inputs.receiver import InputReceiver
from pipeline.stream.messages import InputCounts

Features = NDArray[np.float32]


class InputPacker:
    """The inputs of one model's cameras. It takes what is there, and never waits for what is not."""

    def __init__(self, further: Sequence[FurtherInput], receiver: InputReceiver) -> None:
        self._further = tuple(further)
        self._receiver = receiver

    def read(self) -> None:
        """Take in what has arrived, also where no frame comes: else the sockets fill with what is old by then."""
        self._receiver.read()

    def pack(
        self, frames: Sequence[tuple[str, FrameHeader]], features: Features
    ) -> tuple[Features, list[tuple[bool, ...]]]:
        """A batch for the step, `[N, *step_features]`, and which inputs each of its N rows has, in the model's order.

        Args:
            frames: camera and header of each row.
            features: the encoder's, `[N, D]`; from a GPU they come down here.
        """
        self._receiver.read()
        names = [each.name for each in self._further]
        samples = [[self._receiver.sample(camera, name, header) for name in names] for camera, header in frames]
        present = [tuple(sample is not None for sample in of_row) for of_row in samples]
        return pack(np.asarray(features), samples, self._further), present

    def counts(self, camera: str) -> dict[str, InputCounts]:
        """See `InputReceiver.counts`."""
        return self._receiver.counts(camera)
