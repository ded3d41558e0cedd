"""Features of a frozen encoder: the back end says what torch says, or torch says it itself; none is made in vain."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from engines.errors import BackendError  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.families.contract import StreamModel  # noqa: E402
from engines.training import encoding_engine  # noqa: E402
from engines.training.clips import material  # noqa: E402
from engines.training.encoding_engine import BATCH, frozen_encoding  # noqa: E402
from engines.training.features import encode  # noqa: E402
from engines.training.recipe import Data, Recipe  # noqa: E402


@pytest.fixture(scope="module")
def model() -> StreamModel:
    torch.manual_seed(0)
    return build_family("gru", {"encoder": "conv", "height": 16, "width": 24, "hidden": 4, "reduced": 4})


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 16, 24, 3)).astype(np.uint8)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_any_number_of_pictures_gives_the_features_of_torch(
    model: StreamModel, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = encoding_engine.open_engines
    monkeypatch.setattr(encoding_engine, "open_engines", lambda graph, _, options: opened(graph, backend, options))
    encoding = frozen_encoding(model)
    for count in (1, BATCH, 2 * BATCH + 3):
        np.testing.assert_allclose(encoding(pictures(count)), encode(model, pictures(count)), atol=1e-3)


def test_where_a_back_end_says_something_else_torch_does_the_work(
    model: StreamModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = encoding_engine._run
    monkeypatch.setattr(encoding_engine, "_run", lambda engine, frames: run(engine, frames) + 1.0)
    np.testing.assert_array_equal(frozen_encoding(model)(pictures(5)), encode(model, pictures(5)))


def test_where_no_back_end_runs_torch_does_the_work(model: StreamModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BackendError("no back end is here")

    monkeypatch.setattr(encoding_engine, "open_engines", refuse)
    np.testing.assert_array_equal(frozen_encoding(model)(pictures(5)), encode(model, pictures(5)))


def test_no_engine_is_made_before_the_first_picture(model: StreamModel, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[StreamModel] = []

    def making(of: StreamModel) -> object:
        made.append(of)
        return lambda frames: np.zeros((len(frames), 1), np.float32)

    monkeypatch.setattr(material, "frozen_encoding", making)
    how = material._encode(model, Recipe("toy", "gru", Data("clips")))
    assert not made
    how(pictures(2))
    how(pictures(3))
    assert len(made) == 1
