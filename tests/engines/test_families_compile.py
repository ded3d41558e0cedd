"""Steps compile for the fixed batches that cameras run with, by OpenVINO as it is: no crash that must be got around.

Chained residual linear layers over `[N, hidden]` kill OpenVINO 2026.2 to 2026.4 in `compile_model`. A step of the
transformer keeps its axis of time, so that its layers see `[N, 1, hidden]`, which compiles.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from small_families import SMALL  # noqa: E402

from engines.backends import BACKENDS, open_engines  # noqa: E402
from engines.engine import EngineOptions  # noqa: E402
from engines.export import export_temporal  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.families.contract import Served, StreamModel  # noqa: E402
from engines.probe import probe  # noqa: E402

RESIDUAL = ("tcn", "transformer")  # made of what is known to crash; the others are here for good measure
BATCHES = (1, 2, 4, 8)


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=() if name in RESIDUAL else pytest.mark.slow) for name in SMALL]
)
def step(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[StreamModel, bytes]:
    torch.manual_seed(4)
    family, options = SMALL[request.param]
    model = build_family(family, options).eval()
    path = tmp_path_factory.mktemp("step") / "temporal.onnx"
    export_temporal(model, Path(path))
    return model, path.read_bytes()


def options(batch: int, threads: int = 1) -> EngineOptions:
    return EngineOptions("temporal.onnx", batch=batch, threads=threads)


def test_no_fixed_batch_crashes_the_compiler(step: tuple[StreamModel, bytes]) -> None:
    _, graph = step
    probe(BACKENDS["openvino"], graph, [options(batch, threads) for batch in BATCHES for threads in (1, 2)])


@torch.no_grad()
@pytest.mark.parametrize("batch", BATCHES)
def test_a_fixed_batch_gives_the_answers_of_the_network(step: tuple[StreamModel, bytes], batch: int) -> None:
    model, graph = step
    served, state = Served(model), model.init_state(batch)
    (engine,) = open_engines(graph, "openvino", [options(batch)]).engines
    fed = {spec.name: tensor.numpy() for spec, tensor in zip(model.state_spec, state, strict=True)}
    rng = np.random.default_rng(6)
    for index in range(12):
        features = rng.random((batch, *model.step_features), np.float32)
        dt = (0.5 + rng.random(batch, np.float32)) / np.float32(model.fps)
        keep = np.full(batch, index > 0, np.float32)
        found = engine.run({"features": features, "dt": dt, "keep": keep, **fed})
        expected = served(*map(torch.from_numpy, (features, dt, keep)), *state)
        np.testing.assert_allclose(found["logits"], expected[1].numpy(), atol=1e-5)
        state = expected[3:]
        fed = {name: found[f"next_{name}"] for name in fed}
    engine.close()
