"""A small CNN without pretrained weights: three blocks of stride two, for what is learned from nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.encoders.frame import FrameEncoder

CHANNELS = (16, 32, 48)


class ConvEncoder(FrameEncoder):
    """The map has 48 channels and a cell for 8 x 8 pixels; the vector is each channel's mean, then its maximum.

    Two planes with each pixel's column and row, -1 to 1, go in beside the colours (Liu et al. 2018, arXiv 1807.03247),
    so that the vector still knows where something is.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third = CHANNELS
        self.blocks = nn.Sequential(ConvBlock(5, first), ConvBlock(first, second), ConvBlock(second, third))

    def forward(self, frames: Tensor) -> Tensor:
        """See `FrameEncoder`."""
        weight = self.blocks[-1].weight
        assert isinstance(weight, Tensor)
        pictures = frames.to(weight.dtype).permute(0, 3, 1, 2) / 127.5 - 1.0
        maps: Tensor = self.blocks(torch.cat([pictures, _places(pictures)], 1))
        return maps if self.spatial else torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)


class ConvBlock(nn.Module):
    """A convolution of stride two, a normalisation that knows no batch, ReLU.

    Each frame is normalised over all its channels and cells (group normalisation with one group: Wu & He 2018, arXiv
    1803.08494). Batch statistics would be those of a few cameras' neighbouring frames.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.weight = nn.Parameter(torch.ones(outputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[N, inputs, 2h, 2w]` to maps `[N, outputs, h, w]`."""
        x = self.conv(x)
        x = x - x.mean((1, 2, 3), keepdim=True)
        x = x / torch.sqrt(x.square().mean((1, 2, 3), keepdim=True) + 1e-5)
        return functional.relu(x * self.weight + self.bias)


def _places(pictures: Tensor) -> Tensor:
    """Column and row of each pixel, from -1 to 1, `[N, 2, H, W]`."""
    batch, _, height, width = pictures.shape
    rows, columns = (torch.linspace(-1, 1, side).to(pictures) for side in (height, width))
    planes = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)])
    return planes.expand(batch, -1, -1, -1)
