"""What all pretrained encoders share: bytes in, normalised inside the graph, a map or the mean of a wider one out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from engines.encoders.frame import FrameEncoder

Colours = tuple[float, float, float]


class PictureEncoder(FrameEncoder):
    """The vector is the mean of the network's last map; the map is the one before it, which a 1x1 convolution widens.

    The published networks see red first. Instead of swapping the channels of every frame, `take_weights` swaps those of
    the first convolution, once. Batch normalisation always uses the statistics of its training, also within a network
    that is being trained.
    """

    stem: str
    """Name of the first convolution's weight, `[out, 3, k, k]`."""
    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Colours, std: Colours) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean[::-1]).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", 1.0 / torch.tensor(std[::-1]).reshape(1, 3, 1, 1), persistent=False)

    @abstractmethod
    def narrow(self, pictures: Tensor) -> Tensor:
        """Normalised pictures float32 `[N, 3, H, W]` BGR to the map `[N, 320, H/32, W/32]`."""

    @abstractmethod
    def widen(self, narrow: Tensor) -> Tensor:
        """That map to the network's last, `[N, 1280, H/32, W/32]`."""

    def maps(self, pictures: Tensor) -> Tensor:
        """Normalised pictures float32 `[N, 3, H, W]` BGR to the last map."""
        return self.widen(self.narrow(pictures))

    def forward(self, frames: Tensor) -> Tensor:
        """See `FrameEncoder`."""
        pictures = (frames.to(self.mean.dtype).permute(0, 3, 1, 2) - self.mean) * self.scale
        if self.spatial:
            return self.maps(pictures) if self.wide else self.narrow(pictures)
        return self.maps(pictures).mean((2, 3))

    def take_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Use published weights, whose first convolution expects red first."""
        self.load_state_dict({**tensors, self.stem: tensors[self.stem].flip(1)})

    def train(self, mode: bool = True) -> PictureEncoder:  # noqa: FBT001, FBT002 - torch's own signature
        """Stay as trained: always in inference mode."""
        del mode
        super().train(mode=False)
        return self
