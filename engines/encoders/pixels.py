"""No network: the frame's own grey pixels, for tests and toy tasks whose frames are a few pixels large."""

from __future__ import annotations

import torch
from torch import Tensor

from engines.encoders.frame import FrameEncoder


class PixelEncoder(FrameEncoder):
    """Grey (the mean of the channels) from 0 to 1: the vector `[H * W]`, row by row, or the map `[1, H, W]`."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0 / 255.0), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """See `FrameEncoder`."""
        grey = frames.to(self.scale.dtype).mean(3) * self.scale
        return grey.unsqueeze(1) if self.spatial else grey.flatten(1)
