"""The contract of every network family: stream equals sequence, rows are independent, memory starts from zero."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from small_families import SMALL  # noqa: E402

from engines.errors import ConfigError  # noqa: E402
from engines.families import FAMILIES, WITHOUT_ENCODER, build_family  # noqa: E402
from engines.families.contract import Served, StreamModel  # noqa: E402

STREAMS, STEPS = 3, 90


@pytest.fixture(params=sorted(SMALL))
def model(request: pytest.FixtureRequest) -> StreamModel:
    torch.manual_seed(3)
    return build_family(*SMALL[request.param]).eval()


def footage(model: StreamModel, streams: int = STREAMS, steps: int = STEPS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    features = torch.rand((streams, steps, *model.step_features), generator=generator)
    return features, torch.rand((streams, steps), generator=generator) / model.fps + 0.05


def stream(model: StreamModel, features: torch.Tensor, dt: torch.Tensor) -> torch.Tensor:
    state, out = model.init_state(len(features), features), []
    for index in range(features.shape[1]):
        logits, state = model.step(features[:, index], dt[:, index], state)
        out.append(logits)
    return torch.stack(out, 1)


@torch.no_grad()
def test_stream_equals_sequence(model: StreamModel) -> None:
    features, dt = footage(model)
    whole = model(features, dt)[0]
    assert (stream(model, features, dt) - whole).abs().max() < 1e-5
    assert whole.std() > 1e-3


@torch.no_grad()
def test_another_stream_differs(model: StreamModel) -> None:
    """The negative control: equality above says something."""
    features, dt = footage(model)
    assert (stream(model, features, dt) - model(features.flip(0), dt)[0]).abs().max() > 1e-3


@torch.no_grad()
def test_chunks_with_carried_state_equal_one_sequence(model: StreamModel) -> None:
    features, dt = footage(model)
    state, parts = None, []
    for at in (slice(0, 20), slice(20, 21), slice(21, STEPS)):
        logits, state = model(features[:, at], dt[:, at], state)
        parts.append(logits)
    assert (torch.cat(parts, 1) - model(features, dt)[0]).abs().max() < 1e-5


@torch.no_grad()
def test_the_future_changes_nothing(model: StreamModel) -> None:
    features, dt = footage(model)
    changed = features.clone()
    changed[:, 40:] = torch.rand_like(changed[:, 40:])
    before, after = model(features, dt)[0], model(changed, dt)[0]
    assert torch.equal(before[:, :40], after[:, :40])
    assert not torch.equal(before[:, 40:], after[:, 40:])


@torch.no_grad()
def test_rows_do_not_touch_each_other(model: StreamModel) -> None:
    features, dt = footage(model)
    together = stream(model, features, dt)
    alone = torch.cat([stream(model, features[row : row + 1], dt[row : row + 1]) for row in range(STREAMS)])
    assert (together - alone).abs().max() < 2e-6


@torch.no_grad()
def test_a_row_without_keep_starts_afresh(model: StreamModel) -> None:
    features, dt = footage(model)
    served, state = Served(model), model.init_state(STREAMS)
    for index in range(10):
        _, _, _, *state = served(features[:, index], dt[:, index], torch.ones(STREAMS), *state)
    keep = torch.tensor([1.0, 0.0, 1.0])
    prob, logits, ok, *state = served(features[:, 10], dt[:, 10], keep, *state)
    fresh = served(features[1:2, 10], dt[1:2, 10] * 7, torch.zeros(1), *model.init_state(1))
    assert (logits[1] - fresh[1][0]).abs().max() < 1e-6  # and a fresh row does not look at its dt
    assert all((a[1] - b[0]).abs().max() < 1e-6 for a, b in zip(state, fresh[3:], strict=True))
    assert ok.tolist() == [1.0, 1.0, 1.0]
    assert torch.allclose(prob.sum(1), torch.ones(STREAMS))


@torch.no_grad()
@pytest.mark.parametrize("keep", [0.0, 1.0])
def test_a_row_that_went_non_finite_is_flagged_and_cleared(model: StreamModel, keep: float) -> None:
    features, dt = footage(model)
    poisoned = tuple(s.clone() for s in model.init_state(STREAMS))
    for tensor in poisoned:
        tensor[2] = float("nan")
    keeps = torch.tensor([1.0, 1.0, keep])
    _, logits, ok, *state = Served(model)(features[:, 0], dt[:, 0], keeps, *poisoned)
    assert ok.tolist() == [1.0, 1.0, 1.0 - keep]
    assert all(torch.isfinite(s).all() for s in state)
    assert torch.isfinite(logits[:2]).all()
    if keep:
        assert all((s[2] == 0).all() for s in state)


@torch.no_grad()
@pytest.mark.parametrize("broken", ["features", "dt"])
def test_a_row_fed_with_nan_is_flagged_even_where_the_network_hides_it(model: StreamModel, broken: str) -> None:
    features, dt = footage(model)
    features, dt = features[:, 0].clone(), dt[:, 0].clone()
    (features if broken == "features" else dt)[1] = float("nan")
    served = Served(model)
    served.model.step = lambda features, dt, state: (torch.zeros(STREAMS, model.labels), state)  # as if NaN got lost
    _, _, ok, *_ = served(features, dt, torch.ones(STREAMS), *model.init_state(STREAMS))
    assert ok.tolist() == [1.0, 0.0, 1.0]


def test_state_is_what_its_specification_says(model: StreamModel) -> None:
    features, dt = footage(model)
    state = model.init_state(STREAMS)
    _, following = model.step(features[:, 0], dt[:, 0], state)
    assert len(state) == len(following) == len(model.state_spec)
    for spec, before, after in zip(model.state_spec, state, following, strict=True):
        assert before.shape == after.shape == (STREAMS, *spec.shape)
        assert before.dtype == after.dtype == torch.float32
        assert not before.any()


@torch.no_grad()
def test_ragged_arrivals_equal_streams_alone(model: StreamModel) -> None:
    features, dt = footage(model, streams=6, steps=30)
    expected = stream(model, features, dt)
    served, pool = Served(model), [s.clone() for s in model.init_state(6)]
    generator, at = torch.Generator().manual_seed(9), [0] * 6
    while min(at) < 30:
        waiting = [row for row in range(6) if at[row] < 30]
        chosen = torch.randperm(len(waiting), generator=generator)[
            : 1 + int(torch.randint(4, (1,), generator=generator))
        ]
        rows = [waiting[int(index)] for index in chosen]
        x = torch.stack([features[row, at[row]] for row in rows])
        pace = torch.stack([dt[row, at[row]] for row in rows])
        _, logits, _, *state = served(x, pace, torch.ones(len(rows)), *(s[rows] for s in pool))
        for tensor, new in zip(pool, state, strict=True):
            tensor[rows] = new
        for index, row in enumerate(rows):
            assert (logits[index] - expected[row, at[row]]).abs().max() < 1e-5
            at[row] += 1


def test_the_gradient_reaches_the_first_step(model: StreamModel) -> None:
    features, dt = footage(model, steps=12)
    features.requires_grad_()
    model(features, dt)[0][:, -1].square().sum().backward()
    assert features.grad is not None
    assert features.grad[:, 0].abs().max() > 0


@torch.no_grad()
def test_dt_matters(model: StreamModel) -> None:
    features, dt = footage(model)
    assert (model(features, dt)[0] - model(features, 2 * dt)[0]).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("steps", [300, pytest.param(4000, marks=pytest.mark.slow)])
def test_many_steps_stay_finite_and_close_to_float64(model: StreamModel, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.rand((2, steps, *model.step_features), generator=generator)
    dt = torch.full((2, steps), 1.0 / model.fps)
    single = stream(model, features, dt)
    double = stream(model.double(), features.double(), dt.double())
    assert torch.isfinite(single).all()
    assert (single - double).abs().max() < 1e-4


@torch.no_grad()
def test_the_receptive_field_is_what_was_told(model: StreamModel) -> None:
    """What lies longer ago changes nothing; without a bound, what lies 40 steps ago must still be felt."""
    features, dt = footage(model)
    reach = model.receptive_field
    assert reach is None or reach < STEPS, "the small network of the table must forget within the test"
    oldest = STEPS - (reach or 40)
    felt, unfelt = features.clone(), features.clone()
    felt[:, oldest] += 5.0
    unfelt[:, :oldest] = torch.rand_like(unfelt[:, :oldest])
    last = model(features, dt)[0][:, -1]
    assert reach is None or torch.equal(model(unfelt, dt)[0][:, -1], last)
    double, wide = model.double(), dt.double()  # what is left of it may be less than float32 shows
    assert (double(felt.double(), wide)[0][:, -1] != double(features.double(), wide)[0][:, -1]).any()


def test_weights_from_before_the_temperature_are_taken(model: StreamModel) -> None:
    tensors = model.state_dict()
    assert tensors["temperature"].tolist() == [1.0]
    del tensors["temperature"]
    model.temperature.fill_(3.0)
    model.load_state_dict(tensors)
    assert model.temperature.tolist() == [1.0]


@torch.no_grad()
def test_the_encoder_takes_bytes(model: StreamModel) -> None:
    frames = torch.randint(0, 256, (2, *model.frame_shape, 3), dtype=torch.uint8)
    features = model.encoder(frames)
    assert features.shape == (2, *model.features)
    assert features.dtype == torch.float32
    assert (model.encoder(frames[:1]) - features[:1]).abs().max() < 1e-5


def test_no_family_is_left_out() -> None:
    assert {name for name, _ in SMALL.values()} == set(FAMILIES)
    assert {name for name, options in SMALL.values() if "encoder" not in options} == set(WITHOUT_ENCODER)


def test_a_family_that_needs_an_encoder_says_so() -> None:
    for name in set(FAMILIES) - set(WITHOUT_ENCODER):
        with pytest.raises(ConfigError, match=f"{name} runs on an encoder: .* known are conv, efficientnet_lite0"):
            build_family(name, {})


TOY = {"encoder": "pixels", "height": 8, "width": 8}


@pytest.mark.parametrize(
    ("family", "options", "sentence"),
    [
        ("gru", {"hiden": 3}, "family gru on an encoder has no option hiden; did you mean hidden"),
        ("gru", {"layers": 4}, "gru .*`int` <= 3 - at `..layers`"),
        ("gru", {"dropout": 1.0}, r"gru .*`float` < 1.0 - at `..dropout`"),
        ("cnn_lstm", {"inputs": "motion"}, "cnn_lstm .*Invalid enum value 'motion'"),
        ("convlstm", {"kernel": 4}, "convlstm takes odd kernels, such as 3, found 4"),
        ("tcn", {"levels": 0}, "tcn .*`int` >= 1"),
        (
            "two_stream",
            {"motion": "frames"},
            "two_stream was given frames of 8x8 pixels, smaller than .* of 32x24: set",
        ),
        ("two_stream", {"encoder": "pixel"}, r"no encoder 'pixel'; did you mean pixels\?"),
    ],
)
def test_wrong_options_are_one_sentence(family: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_family(family, {**TOY, **options})


def test_dropout_acts_in_training_only() -> None:
    for family, options in SMALL.values():
        if "encoder" not in options:
            continue
        model = build_family(family, {**options, "dropout": 0.5})
        features, dt = footage(model, steps=4)
        assert not torch.equal(model.train()(features, dt)[0], model(features, dt)[0]), family
        assert torch.equal(model.eval()(features, dt)[0], model(features, dt)[0]), family


def test_unknown_families_and_options_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no model family 'gpt'.*cnn_lstm"):
        build_family("gpt", {})
    with pytest.raises(ConfigError, match="places"):
        build_family("cnn_lstm", {"places": "many"})
    with pytest.raises(ConfigError, match="unknown field `hiden`"):
        build_family("cnn_lstm", {"hiden": 3})
    with pytest.raises(ConfigError, match="multiples of 8, found 70x128"):
        build_family("cnn_lstm", {"height": 70})
