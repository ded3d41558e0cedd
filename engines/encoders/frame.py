"""What every encoder is to a network: bytes of frames in, and a vector or a map of each frame out."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class FrameEncoder(nn.Module):
    """Frames uint8 `[N, H, W, 3]` BGR to features float32: the vector `[N, D]`, or the map `[N, C, h, w]`.

    `engines.encoders` tells the shapes of both without making the network. The cast comes first in the graph, since not
    every engine can transpose uint8.
    """

    spatial: bool = False
    """Whether the features are the map."""
    wide: bool = False
    """Whether that is the widest one, where an encoder has several."""

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames."""
