"""Pretrained encoders on real pictures: the right preprocessing names what they show, each wrong one is caught.

The pictures are the twenty with ImageNet classes in the wheel `foolbox`; nothing of that package is run. The figures:
`python -m pytest tests/engines/test_encoders_pictures.py -o log_cli=true --log-cli-level=INFO`.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from engines.agreement import FEATURES, FRAMES  # noqa: E402
from engines.backends import open_engines  # noqa: E402
from engines.encoders import PRETRAINED, PretrainedInfo, build_encoder  # noqa: E402
from engines.encoders.efficientnet_lite0 import SameConv  # noqa: E402
from engines.encoders.picture import PictureEncoder  # noqa: E402
from engines.encoders.weights import load_weights, weights_installed  # noqa: E402
from engines.engine import EngineOptions  # noqa: E402
from engines.export import export_encoder  # noqa: E402
from engines.families import build_family  # noqa: E402

BARS = {"efficientnet_lite0": (34, 0.71), "mobilenet_v2": (32, 0.47)}
"""Per encoder: named rightly at least, of 40; mean negative log-likelihood of the true class at most.

The second number decides: it also sees the mistakes that cost few names. docs/encoders.md has what was
measured. Another JPEG or resize routine moves the figures by 0.01.
"""

SIZES = (224, 160)

_log = logging.getLogger(__name__)

Change = Callable[[PictureEncoder, torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module")
def pictures() -> tuple[list[np.ndarray], list[int]]:
    """Pictures uint8 `[20, S, S, 3]` BGR for each size, and the class of each."""
    spec = importlib.util.find_spec("foolbox")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the pictures come with the package foolbox, which is not installed: pip install 'vidpipe[test]'")
    paths = sorted((Path(spec.submodule_search_locations[0]) / "data").glob("imagenet_*_*.jpg"))
    assert len(paths) == 20
    return [np.stack([centre(cv2.imread(str(path)), size) for path in paths]) for size in SIZES], [
        int(path.stem.split("_")[-1]) for path in paths
    ]


@pytest.fixture(params=sorted(PRETRAINED))
def info(request: pytest.FixtureRequest) -> PretrainedInfo:
    info = PRETRAINED[request.param]
    if not weights_installed(info.weights):
        pytest.skip(f"the weights of {info.name} are not installed: {info.weights.install}")
    return info


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The encoder's ONNX graph by the encoder's name, exported once."""
    folder = tmp_path_factory.mktemp("graphs")

    def export(name: str) -> bytes:
        path = folder / f"{name}.onnx"
        if not path.exists():
            export_encoder(build_family("cnn_lstm", {"encoder": name}), path)
        return path.read_bytes()

    return export


def centre(picture: np.ndarray, size: int) -> np.ndarray:
    """The middle 7/8 of the picture, as the published accuracies are measured."""
    scale = size * 8 / 7 / min(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (small.shape[0] - size) // 2, (small.shape[1] - size) // 2
    return small[top : top + size, left : left + size]


def judge(
    info: PretrainedInfo, pictures: tuple[list[np.ndarray], list[int]], encode: Change = lambda encoder, x: encoder(x)
) -> tuple[int, float]:
    """How many are named rightly, and the mean negative log-likelihood of the true class."""
    tensors = load_weights(info.name, info.weights)
    weight, bias = tensors[f"{info.head}.weight"], tensors[f"{info.head}.bias"]
    encoder, named, doubt = build_encoder(info), 0, []
    true = torch.tensor(pictures[1])
    with torch.inference_mode():
        for batch in pictures[0]:
            scores = (encode(encoder, torch.from_numpy(batch)) @ weight.T + bias).log_softmax(1)
            named += int((scores.argmax(1) == true).sum())
            doubt.append(-scores.gather(1, true[:, None]).mean().item())
    _log.info("%s: %d of %d named, %.3f", info.name, named, len(true) * len(doubt), np.mean(doubt))
    return named, float(np.mean(doubt))


def test_the_pictures_are_named_rightly(info: PretrainedInfo, pictures: tuple[list[np.ndarray], list[int]]) -> None:
    least, most = BARS[info.name]
    named, doubt = judge(info, pictures)
    assert named >= least
    assert doubt <= most


def red_first(encoder: PictureEncoder, frames: torch.Tensor) -> torch.Tensor:
    return encoder(frames.flip(3))


def zero_to_one(encoder: PictureEncoder, frames: torch.Tensor) -> torch.Tensor:
    """Pixels scaled to 0..1 and nothing else."""
    encoder.mean, encoder.scale = torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), 1 / 255)
    return encoder(frames)


def unscaled(encoder: PictureEncoder, frames: torch.Tensor) -> torch.Tensor:
    return encoder.maps(frames.to(torch.float32).permute(0, 3, 1, 2)).mean((2, 3))


@pytest.mark.parametrize(("backend", "precision"), [("openvino", "f32"), ("openvino", "bf16"), ("onnxruntime", "f32")])
def test_the_exported_graph_names_them_too(
    backend: str,
    precision: str,
    info: PretrainedInfo,
    pictures: tuple[list[np.ndarray], list[int]],
    graph: Callable[[str], bytes],
) -> None:
    options = [EngineOptions("encoder", None, precision=precision)]
    (engine,) = open_engines(graph(info.name), backend, options).engines

    def through_the_engine(encoder: PictureEncoder, frames: torch.Tensor) -> torch.Tensor:
        features = torch.from_numpy(engine.run({FRAMES: frames.numpy()})[FEATURES])
        if precision == "f32":
            assert (features - encoder(frames)).abs().max() < 1e-4
        return features

    least, most = BARS[info.name]
    as_trained = ([pictures[0][0]], pictures[1])  # a graph has one size
    named, doubt = judge(info, as_trained, through_the_engine)
    engine.close()
    assert named >= least // 2
    assert doubt <= most


@pytest.mark.parametrize("wrong", [red_first, zero_to_one, unscaled])
def test_wrong_preprocessing_is_caught(
    info: PretrainedInfo, pictures: tuple[list[np.ndarray], list[int]], wrong: Change
) -> None:
    _, doubt = judge(info, pictures, wrong)
    assert doubt > BARS[info.name][1]


def test_another_encoders_normalisation_is_caught(
    info: PretrainedInfo, pictures: tuple[list[np.ndarray], list[int]]
) -> None:
    """The trap of the Lite weights: their own package shows the mean and deviation of ImageNet, and nothing crashes."""
    (other,) = (each for each in PRETRAINED.values() if each.name != info.name)
    _, doubt = judge(replace(info, mean=other.mean, std=other.std), pictures)
    assert doubt > BARS[info.name][1]


def test_padding_at_the_wrong_edge_is_caught(pictures: tuple[list[np.ndarray], list[int]]) -> None:
    info = PRETRAINED["efficientnet_lite0"]
    if not weights_installed(info.weights):
        pytest.skip(f"the weights of {info.name} are not installed: {info.weights.install}")

    def shifted(encoder: PictureEncoder, frames: torch.Tensor) -> torch.Tensor:
        for module in encoder.modules():
            if isinstance(module, SameConv) and module._edges:
                before, after = sorted(module._edges[:2])
                module._edges = (after, before) * 2
        return encoder(frames)

    _, doubt = judge(info, pictures, shifted)
    assert doubt > BARS[info.name][1]
