"""The family multimodal: inputs that are missing stand still and lose their say, and each part answers alone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from engines.errors import ConfigError  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.families.contract import StreamModel  # noqa: E402
from engines.further import FurtherInput  # noqa: E402

VIDEO, AUDIO, DOOR = slice(0, 6), slice(6, 9), slice(10, 11)
AUDIO_FLAG, DOOR_FLAG = 9, 11
OPTIONS: dict[str, object] = {
    "encoder": "pixels", "height": 2, "width": 3, "labels": 3, "reduced": 8, "hidden": 8, "fade_s": 1.0,
    "further": [{"name": "audio", "size": 3, "hidden": 6}, {"name": "door", "size": 1, "max_age_s": 9.0, "hidden": 5}],
}  # fmt: skip


@pytest.fixture
def model() -> StreamModel:
    torch.manual_seed(2)
    return build_family("multimodal", OPTIONS).eval()


def footage(steps: int, audio: float = 1.0, door: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """One stream at the nominal rate in which both inputs are there always or never."""
    features = torch.randn((1, steps, 12), generator=torch.Generator().manual_seed(4))
    features[..., AUDIO_FLAG], features[..., DOOR_FLAG] = audio, door
    return features, torch.full((1, steps), 1 / 8)


def test_the_model_says_what_it_reads(model: StreamModel) -> None:
    assert model.further == (FurtherInput("audio", 3, 1.0), FurtherInput("door", 1, 9.0))
    assert (model.features, model.step_features) == ((6,), (12,))
    assert [spec.name for spec in model.state_spec] == ["h", "c", "audio_h", "door_h", "freshness"]


@torch.no_grad()
@pytest.mark.parametrize("where", [AUDIO, DOOR])
def test_values_without_their_flag_are_not_read(model: StreamModel, where: slice) -> None:
    features, dt = footage(20, audio=0.0, door=0.0)
    changed = features.clone()
    changed[..., where] += 3
    assert torch.equal(model(features, dt)[0], model(changed, dt)[0])
    changed[..., [AUDIO_FLAG, DOOR_FLAG]] = 1.0
    assert not torch.allclose(model(features, dt)[0], model(changed, dt)[0])


@torch.no_grad()
def test_an_input_that_never_came_has_no_say(model: StreamModel) -> None:
    features, dt = footage(20, audio=0.0, door=0.0)
    before = model(features, dt)[0]
    model.weights[1:] += 5  # ever so important, were they there
    assert torch.allclose(before, model(features, dt)[0], atol=1e-6)


@torch.no_grad()
def test_an_input_that_stops_stands_still_and_loses_its_say(model: StreamModel) -> None:
    features, dt = footage(120)
    features[:, 20:, AUDIO_FLAG] = 0.0
    state, states = model.init_state(1), []
    for t in range(120):
        _, state = model.step(features[:, t], dt[:, t], state)
        states.append(state)
    heard, fresh = [s[2] for s in states], torch.cat([s[4] for s in states])
    assert all(torch.equal(hidden, heard[19]) for hidden in heard[20:])
    seconds = torch.arange(1, 101) / 8
    assert torch.allclose(fresh[20:, 0], torch.exp(-seconds), atol=1e-5)
    assert (fresh[:, 1] == 1).all()
    silent = model(features.index_fill(-1, torch.tensor(AUDIO_FLAG), 0.0), dt)[0]
    apart = (model(features, dt)[0] - silent).abs().amax((0, 2))
    assert apart[20] > 20 * apart[-1], "in the end it is as if the input had never been there"


@torch.no_grad()
def test_a_long_gap_fades_as_many_short_steps_do(model: StreamModel) -> None:
    features, _ = footage(3)
    features[:, 1:, AUDIO_FLAG] = 0.0
    state = model.init_state(1)
    for t, dt_s in enumerate((0.1, 0.5, 2.0)):
        _, state = model.step(features[:, t], torch.tensor([dt_s]), state)
    assert state[4][0, 0] == pytest.approx(torch.exp(torch.tensor(-2.5)).item(), abs=1e-6)


def test_training_leaves_inputs_out_and_serving_none(model: StreamModel) -> None:
    features, dt = footage(10)
    features, dt = features.expand(64, -1, -1), dt.expand(64, -1)
    torch.manual_seed(0)
    assert model.train()(features, dt)[0][:, -1].std(0).max() > 1e-3
    assert model.eval()(features, dt)[0][:, -1].std(0).max() < 1e-6


def test_options_that_make_no_sense_are_named() -> None:
    with pytest.raises(ConfigError, match="multimodal has no further input: name one in its options"):
        build_family("multimodal", {**OPTIONS, "further": []})
    with pytest.raises(ConfigError, match="has no further input"):
        build_family("multimodal", {key: value for key, value in OPTIONS.items() if key != "further"})
    twice = [{"name": "audio", "size": 3}] * 2
    with pytest.raises(ConfigError, match=r"must have different names, found \['audio', 'audio'\]"):
        build_family("multimodal", {**OPTIONS, "further": twice})
    with pytest.raises(ConfigError, match="unknown field `sise`"):
        build_family("multimodal", {**OPTIONS, "further": [{"name": "audio", "sise": 3}]})
    with pytest.raises(ConfigError, match=r"further\[0\].name"):
        build_family("multimodal", {**OPTIONS, "further": [{"name": "my audio", "size": 3}]})


@pytest.mark.slow
def test_both_inputs_know_more_than_each_alone_and_one_may_be_missing() -> None:
    script = Path(__file__).parents[2] / "tools" / "missing_inputs.py"
    spec = importlib.util.spec_from_file_location("missing_inputs", script)
    assert spec is not None
    assert spec.loader is not None
    missing_inputs = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = missing_inputs  # dataclasses look their module up
    spec.loader.exec_module(missing_inputs)
    found = missing_inputs.measure(1)
    alone, both = max(found["video alone"], found["audio alone"]), "both, leave_out 0.2"
    assert found[both] > alone + 0.1
    missing = [found[f"{both}: audio until step {step}"] for step in (0, 10, 18)]
    assert missing[0] > found["video alone"] - 0.03, "as good without audio as a network that never knew it"
    assert missing[0] <= missing[1] <= missing[2] + 0.01
    assert missing[2] > found[both] - 0.05, "a short gap costs little"
