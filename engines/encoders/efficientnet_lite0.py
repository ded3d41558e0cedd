"""EfficientNet-Lite0: the EfficientNet-B0 of Tan & Le 2019 (arXiv 1905.11946) without squeeze-and-excite, with ReLU6.

Names follow the weight file, which came from TensorFlow; so does its padding ("SAME"), which for a stride of two puts
one pixel more at the end than at the start. With sides that are multiples of 32 it is the same for every size.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from engines.encoders.picture import Colours, PictureEncoder

STAGES = (
    # expansion, kernel, stride, channels, repeats
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class EfficientNetLite0(PictureEncoder):
    """4.65 M parameters with its classifier, 384 M multiply-adds at 224 x 224; features `[N, 1280]`."""

    stem = "_conv_stem.weight"

    def __init__(self, mean: Colours, std: Colours) -> None:
        super().__init__(mean, std)
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2), _norm(32)
        blocks, channels = [], 32
        for expansion, kernel, stride, out, repeats in STAGES:
            for index in range(repeats):
                blocks.append(Block(channels, out, expansion, kernel, stride if index == 0 else 1))
                channels = out
        self._blocks = nn.Sequential(*blocks)
        self._conv_head, self._bn1 = SameConv(channels, 1280, 1), _norm(1280)

    def narrow(self, pictures: Tensor) -> Tensor:
        """See `PictureEncoder`."""
        maps: Tensor = self._blocks(functional.relu6(self._bn0(self._conv_stem(pictures))))
        return maps

    def widen(self, narrow: Tensor) -> Tensor:
        """See `PictureEncoder`."""
        return functional.relu6(self._bn1(self._conv_head(narrow)))


class Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self._expands, self._adds = expansion > 1, stride == 1 and inputs == outputs
        if self._expands:
            self._expand_conv, self._bn0 = SameConv(inputs, wide, 1), _norm(wide)
        self._depthwise_conv, self._bn1 = SameConv(wide, wide, kernel, stride, groups=wide), _norm(wide)
        self._project_conv, self._bn2 = SameConv(wide, outputs, 1), _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps to maps."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        narrow: Tensor = self._bn2(self._project_conv(y))
        return x + narrow if self._adds else narrow


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads, for even sizes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        total = kernel - stride  # over both sides
        even = 0 if stride > 1 else total // 2
        super().__init__(inputs, outputs, kernel, stride, padding=even, groups=groups, bias=False)
        self._edges = (total // 2, total - total // 2) * 2 if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps to maps."""
        return super().forward(functional.pad(x, self._edges) if self._edges else x)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
