"""TensorRT on a real GPU, where there is one: verified, and equal to a CPU. `tools/gpu_proof.py` does more."""

from __future__ import annotations

import numpy as np
import pytest

from engines.arrivals import pictures
from engines.backends import check_backend
from engines.bundle import load_bundle
from engines.encoder import Encoder
from engines.errors import VidpipeError
from engines.verify import verify
from engines.verify_encoder import encode


def why_not() -> str:
    try:
        check_backend("tensorrt")
    except VidpipeError as error:
        return str(error)
    return ""


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(why_not()), reason=why_not() or "ready")]


@pytest.mark.timeout(1200)
def test_the_scene_verifies() -> None:
    report = verify(load_bundle("scene"), ["tensorrt"], steps=1000)
    assert [check for check in report.checks if not check.passed] == []


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("precision", "limit"), [("f32", 1e-4), ("f16", 2e-2)])
def test_features_are_those_of_onnx_runtime(precision: str, limit: float) -> None:
    bundle = load_bundle("scene")
    images = pictures(np.random.default_rng(0), 16, bundle.manifest.input.height, bundle.manifest.input.width)
    with (
        Encoder.open(bundle, "tensorrt", precision=precision) as found,
        Encoder.open(bundle, "onnxruntime") as expected,
    ):
        np.testing.assert_allclose(encode(found, images, 8), encode(expected, images, 8), rtol=limit, atol=limit)
