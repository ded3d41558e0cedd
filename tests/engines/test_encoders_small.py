"""Every encoder's shapes are what its entry says; the two without weights compute what they promise."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from engines.encoders import ENCODERS, EncoderInfo, PretrainedInfo, build_encoder, check_frame_size  # noqa: E402
from engines.encoders.thumbnail import WithThumbnail  # noqa: E402
from engines.errors import ConfigError  # noqa: E402


@pytest.fixture(params=sorted(ENCODERS))
def info(request: pytest.FixtureRequest) -> EncoderInfo:
    return ENCODERS[request.param]


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
@pytest.mark.parametrize("spatial", [False, True])
def test_features_have_the_shape_that_was_told(info: EncoderInfo, spatial: bool) -> None:
    encoder = build_encoder(info, pretrained=False, spatial=spatial)
    for height, width in ((64, 96), (info.size, info.size)):
        shape = info.map_shape(height, width) if spatial else info.vector_shape(height, width)
        features = encoder(noise(2, height, width))
        assert features.shape == (2, *shape)
        assert features.dtype == torch.float32
        assert len(shape) == (3 if spatial else 1)


@torch.no_grad()
def test_frames_do_not_touch_each_other(info: EncoderInfo) -> None:
    encoder, frames = build_encoder(info, pretrained=False), noise(3, 64, 64)
    assert (encoder(frames[1:2]) - encoder(frames)[1:2]).abs().max() < 1e-5


@torch.no_grad()
def test_pixels_are_the_frame_in_grey() -> None:
    frames = noise(2, 3, 5)
    expected = frames.double().mean(3) / 255
    vector, plane = (build_encoder(ENCODERS["pixels"], spatial=spatial)(frames) for spatial in (False, True))
    assert (vector.reshape(2, 3, 5) - expected).abs().max() < 1e-6
    assert torch.equal(plane[:, 0], vector.reshape(2, 3, 5))
    assert not list(build_encoder(ENCODERS["pixels"]).parameters())


def test_the_small_cnn_learns_where_something_is() -> None:
    """A bright square left or right of the middle: the vector, pooled over all cells, must still tell it."""
    torch.manual_seed(0)
    frames, right = torch.zeros(64, 16, 32, 3, dtype=torch.uint8), torch.arange(64) % 2
    for index, at in enumerate(torch.randint(0, 10, (64,)) + 18 * right):
        frames[index, 5:9, at : at + 4] = 200
    encoder = build_encoder(ENCODERS["conv"]).train()
    head = torch.nn.Linear(*ENCODERS["conv"].vector_shape(16, 32), 2)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 0.01)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(head(encoder(frames)), right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * math.log(2)


@torch.no_grad()
@pytest.mark.parametrize("thumbnail", [(3, 4), (6, 8), (4, 5)])
def test_a_thumbnail_is_the_mean_grey_of_its_cells(thumbnail: tuple[int, int]) -> None:
    frames = noise(2, 6, 8)
    encoder = build_encoder(ENCODERS["pixels"])
    features = WithThumbnail(encoder, (6, 8), thumbnail)(frames)
    vector, small = features.split_with_sizes([48, thumbnail[0] * thumbnail[1]], 1)
    assert torch.equal(vector, encoder(frames))
    grey = frames.numpy().mean(3, dtype=np.float64)
    expected = np.stack([cv2.resize(plane, thumbnail[::-1], interpolation=cv2.INTER_AREA) for plane in grey]) / 255
    assert np.abs(small.reshape(expected.shape).numpy() - expected).max() < 1e-6


def test_only_two_have_weights() -> None:
    assert {name for name, info in ENCODERS.items() if isinstance(info, PretrainedInfo)} == {
        "efficientnet_lite0",
        "mobilenet_v2",
    }


@pytest.mark.parametrize(
    ("name", "height", "width", "sentence"),
    [
        ("conv", 20, 64, "conv takes frames with sides that are multiples of 8 from 8 to 1024 pixels, found 64x20"),
        ("pixels", 0, 1, "pixels takes frames with sides from 1 to 256 pixels, found 1x0"),
        ("pixels", 8, 257, "found 257x8"),
    ],
)
def test_frames_of_a_wrong_size_are_refused(name: str, height: int, width: int, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_frame_size(ENCODERS[name], height, width)
