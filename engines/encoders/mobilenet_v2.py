"""MobileNetV2: inverted residuals with linear bottlenecks (Sandler et al. 2018, arXiv 1801.04381).

The layers' names follow torchvision's, since the weight file does.
"""

from __future__ import annotations

from torch import Tensor, nn

from engines.encoders.picture import Colours, PictureEncoder

STAGES = (
    # expansion, channels, repeats, stride (table 2 of the paper)
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(PictureEncoder):
    """3.5 M parameters with its classifier, 300 M multiply-adds at 224 x 224; features `[N, 1280]`."""

    stem = "features.0.0.weight"

    def __init__(self, mean: Colours, std: Colours) -> None:
        super().__init__(mean, std)
        layers: list[nn.Module] = [_layer(3, 32, 3, stride=2)]
        channels = 32
        for expansion, out, repeats, stride in STAGES:
            for index in range(repeats):
                layers.append(Block(channels, out, expansion, stride if index == 0 else 1))
                channels = out
        self.features = nn.Sequential(*layers, _layer(channels, 1280, 1))

    def narrow(self, pictures: Tensor) -> Tensor:
        """See `PictureEncoder`."""
        for layer in list(self.features)[:-1]:
            pictures = layer(pictures)
        return pictures

    def widen(self, narrow: Tensor) -> Tensor:
        """See `PictureEncoder`."""
        maps: Tensor = self.features[-1](narrow)
        return maps


class Block(nn.Module):
    """Widen, filter each channel, narrow without a non-linearity; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.conv = nn.Sequential(
            *([_layer(inputs, wide, 1)] if expansion > 1 else []),
            _layer(wide, wide, 3, stride=stride, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self._adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Maps to maps."""
        y: Tensor = self.conv(x)
        return x + y if self._adds else y


def _layer(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())
