"""The encoders' networks: bytes in, one row of features a frame, frozen in training, every published tensor used."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from engines.encoders import PRETRAINED, PretrainedInfo, build_encoder  # noqa: E402
from engines.encoders.picture import PictureEncoder  # noqa: E402
from engines.encoders.weights import load_weights, weights_installed  # noqa: E402
from engines.errors import ConfigError  # noqa: E402
from engines.families import build_family  # noqa: E402


@pytest.fixture(scope="module", params=sorted(PRETRAINED))
def info(request: pytest.FixtureRequest) -> PretrainedInfo:
    return PRETRAINED[request.param]


@pytest.fixture(scope="module")
def encoder(info: PretrainedInfo) -> PictureEncoder:
    torch.manual_seed(4)
    return build_encoder(info, pretrained=False)


@torch.no_grad()
def test_frames_become_features(info: PretrainedInfo, encoder: PictureEncoder) -> None:
    for shape in ((3, 64, 96, 3), (1, 128, 64, 3)):
        features = encoder(torch.randint(0, 256, shape, dtype=torch.uint8))
        assert features.shape == (shape[0], info.features)
        assert features.dtype == torch.float32


@torch.no_grad()
def test_the_last_map_has_a_cell_for_32_pixels(encoder: PictureEncoder) -> None:
    assert encoder.maps(torch.zeros(1, 3, 64, 96)).shape[2:] == (2, 3)


@torch.no_grad()
def test_the_map_is_the_one_that_is_widened_to_the_vector(info: PretrainedInfo, encoder: PictureEncoder) -> None:
    frames = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    torch.manual_seed(4)
    maps = build_encoder(info, pretrained=False, spatial=True)(frames)
    assert maps.shape == (2, 320, 2, 3)
    assert torch.equal(encoder.widen(maps).mean((2, 3)), encoder(frames))


@torch.no_grad()
def test_pixels_are_normalised_in_the_order_of_the_frames(info: PretrainedInfo, encoder: PictureEncoder) -> None:
    """A frame of the mean colour, blue first, is what the network sees as zero."""
    mean = torch.tensor(info.mean[::-1])
    assert torch.equal(mean - encoder.mean.flatten(), torch.zeros(3))
    assert torch.allclose(
        (mean + torch.tensor(info.std[::-1]) - encoder.mean.flatten()) * encoder.scale.flatten(), torch.ones(3)
    )
    assert torch.allclose(encoder(mean.expand(1, 64, 64, 3)), encoder.maps(torch.zeros(1, 3, 64, 64)).mean((2, 3)))


def test_training_leaves_the_statistics_alone(encoder: PictureEncoder) -> None:
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.train()
    encoder(torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_every_published_tensor_is_used_once(info: PretrainedInfo) -> None:
    if not weights_installed(info.weights):
        pytest.skip(f"the weights of {info.name} are not installed: {info.weights.install}")
    published = load_weights(info.name, info.weights)
    mine = build_encoder(info).state_dict()
    # PyTorch counts batches, TensorFlow does not: those numbers are not used in inference
    assert {f"{info.head}.weight", f"{info.head}.bias"} == set(published) - set(mine)
    assert set(mine) <= set(published)
    stem = build_encoder(info).stem
    assert torch.equal(mine[stem], published[stem][:, [2, 1, 0]])
    assert all(torch.equal(mine[name], published[name]) for name in mine if name != stem)


def test_a_family_freezes_its_encoder_and_learns_the_rest() -> None:
    model = build_family(
        "cnn_lstm", {"encoder": "mobilenet_v2", "pretrained": False, "height": 64, "width": 64}
    ).train()
    assert not model.encoder.training
    learnt = {name.split(".")[0] for name, value in model.named_parameters() if value.requires_grad}
    assert learnt == {"reduce", "memory", "head"}


def test_wrong_options_of_a_family_on_an_encoder_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no encoder 'mobilenetv2'; did you mean mobilenet_v2\?"):
        build_family("cnn_lstm", {"encoder": "mobilenetv2"})
    with pytest.raises(ConfigError, match=r"cnn_lstm on an encoder has no option places; it has encoder"):
        build_family("cnn_lstm", {"encoder": "mobilenet_v2", "places": 3})
    with pytest.raises(ConfigError, match="multiples of 32"):
        build_family("cnn_lstm", {"encoder": "mobilenet_v2", "height": 72, "width": 128})
