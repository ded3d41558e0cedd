"""The batch size: small where that costs nothing, large where it pays."""

from __future__ import annotations

from pathlib import Path

import pytest

import engines
from engines.bundle import load_bundle
from engines.encoder import Encoder
from pipeline.inference.batch_size import best_batch, smallest_good


@pytest.mark.parametrize(
    ("batch_ms", "best"),
    [
        ({1: 2.3, 2: 4.4, 4: 8.8, 8: 17.8}, 4),  # EfficientNet-Lite0 on two cores: only the cost beside it counts
        ({1: 20.0, 2: 40.0, 4: 80.0, 8: 160.0}, 1),
        ({1: 1.0, 2: 1.1, 4: 1.2, 8: 1.4, 16: 2.0}, 16),
        ({1: 3.0}, 1),
        ({1: 2.0, 2: 3.0, 4: 9.0}, 2),
    ],
)
def test_the_smallest_that_no_larger_one_beats(batch_ms, best):
    assert smallest_good({size: ms / 1e3 for size, ms in batch_ms.items()}) == best


def test_a_real_encoder_is_timed_and_left_free():
    bundle = load_bundle(str(Path(engines.__file__).parent / "bundles" / "scene"))
    with Encoder.open(bundle, "openvino", max_batch=6) as encoder:
        assert best_batch(encoder) in (1, 2, 4, 6)
        encoder.start(0, 1)
        encoder.wait(0)
