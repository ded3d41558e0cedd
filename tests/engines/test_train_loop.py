"""The loop on made-up features: it learns what needs memory, is deterministic, goes on where it stood, and stops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_families import SMALL  # noqa: E402

from engines.errors import TrainingError  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.families.contract import StreamModel  # noqa: E402
from engines.training.answers import answer, clip_scores, macro_map, runs, softmax, step_inputs  # noqa: E402
from engines.training.checkpoint import restore  # noqa: E402
from engines.training.lanes import Walk  # noqa: E402
from engines.training.learning import Learning  # noqa: E402
from engines.training.loop import WALK_SEED, Standing, train_temporal  # noqa: E402
from engines.training.sequences import UNLABELLED, FeatureSequence  # noqa: E402

LABELS = ("left", "right")
MOTION = {"grid": [2, 3], "thumbnail": [4, 6]}
SETTINGS = Learning(epochs=12, lanes=8, steps=10, learning_rate=0.01, patience=0, drop=0.3, warm_up_steps=2)


class Silent:
    def advance(self, steps: int, note: str) -> None:
        pass


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def network(family: str = "gru", seed: int = 0, **options: object) -> StreamModel:
    torch.manual_seed(seed)
    small = {"encoder": "pixels", "height": 1, "width": 6, "fps": 5.0}
    small |= {"reduced": 12, "hidden": 12} if family != "motion_average" else {}
    return build_family(family, {**small, **options})


def moving(count: int, seed: int, steps: int = 12) -> list[FeatureSequence]:
    """A spot that goes left or right: no single step tells which."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        label = number % 2
        at = (rng.integers(0, 6) + (1 if label else -1) * np.arange(steps)) % 6
        features = np.eye(6, dtype=np.float32)[at] + rng.normal(0, 0.05, (steps, 6)).astype(np.float32)
        labels = np.full(steps, label)
        made.append(FeatureSequence(f"v{number}", f"g{number}", features, np.arange(steps) / 5.0, labels))
    return made


def train(model: StreamModel, sequences: Sequence[FeatureSequence] | None = None, **arguments: object) -> Standing:
    settings = msgspec.structs.replace(SETTINGS, **arguments.pop("settings", {}))  # type: ignore[arg-type]
    validation = arguments.pop("validation", moving(10, 2))
    return train_temporal(
        model, [sequences or moving(40, 1)], validation, settings, 3, labels=LABELS, news=Silent(), **arguments
    )  # type: ignore[arg-type]


def test_it_learns_what_only_order_tells() -> None:
    model = network()
    standing = train(model)
    assert standing.history[-1]["accuracy"] >= 0.9
    assert standing.history[-1]["train_loss"] < 0.5 * standing.history[0]["train_loss"]
    fresh = moving(30, 9)
    assert clip_scores(answer(model, fresh), fresh, "mean").accuracy >= 0.9


def test_the_best_weights_are_those_that_stay() -> None:
    model, weights = network(), []
    standing = train(model, after_epoch=lambda s: weights.append(s.weights), settings={"learning_rate": 0.1})
    best = weights[standing.best_epoch - 1]
    assert all(torch.equal(model.state_dict()[name], value) for name, value in best.items())
    assert not any(name.startswith("encoder.") for name in best)


def test_the_same_seed_gives_the_same_weights_and_a_stop_changes_nothing() -> None:
    whole, again, resumed = network(dropout=0.3), network(dropout=0.3), network(dropout=0.3)
    standing = train(whole)
    train(again)
    half = train(network(dropout=0.3), until=5)
    assert half.epoch == 5
    torch.manual_seed(99)
    went_on = train(resumed, start=half)
    assert went_on.history == standing.history
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert torch.equal(value, resumed.state_dict()[name])


def test_a_standing_survives_a_file(tmp_path: Path) -> None:
    half = train(network(), until=2)
    torch.save(vars(half), tmp_path / "standing.pt")
    read = Standing(**torch.load(tmp_path / "standing.pt", weights_only=True))
    one, other = network(), network()
    train(one, start=half)
    train(other, start=read)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_it_stops_when_nothing_gets_better() -> None:
    noise = [
        FeatureSequence(s.name, s.group, s.features, s.times_s, np.random.default_rng(5).permutation(s.labels))
        for s in moving(10, 2)
    ]
    for sequence in noise:
        sequence.labels[:] = 1 - sequence.labels  # what is learnt is wrong here, and more so each epoch
    standing = train(network(), validation=noise, settings={"patience": 2, "epochs": 40})
    assert standing.epoch == standing.best_epoch + 2 < 40


def test_where_nothing_is_monitored_the_last_epoch_is_kept() -> None:
    standing = train(network(), settings={"epochs": 5, "monitor": "none", "patience": 1, "learning_rate": 0.5})
    assert standing.epoch == standing.best_epoch == 5
    assert all(torch.equal(value, standing.best_weights[name]) for name, value in standing.weights.items())


def test_a_family_looks_before_it_learns_and_its_penalty_holds_the_weights_back() -> None:
    held = {}
    for ridge in (0.0, 5.0):
        model = network("motion_average", encoder="conv", height=16, width=24, ridge=ridge, **MOTION)
        features = torch.rand(6, 10, *model.features).numpy()
        clips = [
            FeatureSequence(f"v{k}", f"g{k}", f, np.arange(10) / 5.0, np.full(10, k % 2))
            for k, f in enumerate(features)
        ]
        train(model, clips, validation=[], settings={"epochs": 6})
        assert model.scale.ne(1.0).all()
        held[ridge] = float(model.head.weight.detach().abs().mean())
    assert held[5.0] < 0.5 * held[0.0]


def test_a_family_looks_at_features_also_where_its_encoder_learns() -> None:
    model = network("motion_average", encoder="conv", height=16, width=24, **MOTION)
    frames = np.random.default_rng(0).integers(0, 256, (4, 6, 16, 24, 3), np.uint8)
    times_s = np.arange(6) / 5.0
    clips = [FeatureSequence(f"v{k}", f"g{k}", frames[k], times_s, np.full(6, k % 2)) for k in range(4)]
    train(model, clips, validation=[], settings={"epochs": 1}, fine_tuned=True)
    assert model.scale.ne(1.0).all()


def test_without_validation_all_epochs_are_learnt_and_the_last_weights_stay() -> None:
    model = network()
    standing = train(model, validation=[], settings={"epochs": 3, "patience": 1})
    assert (standing.epoch, standing.best_epoch) == (3, 0)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in standing.weights.items())


def test_figures_are_logged() -> None:
    logged: list[tuple[str, float, int]] = []
    train(network(), until=2, log=lambda name, value, step: logged.append((name, value, step)))
    names = {name for name, _, _ in logged}
    assert {"update/loss", "update/learning_rate", "epoch/train_loss", "epoch/validation_loss"} <= names
    assert {"epoch/accuracy", "epoch/macro_map"} <= names
    rates = [value for name, value, _ in logged if name == "update/learning_rate"]
    assert rates[0] < max(rates)


@pytest.mark.parametrize("loss", ["logit_adjusted", "class_balanced", "focal"])
def test_every_loss_learns(loss: str) -> None:
    standing = train(network(), settings={"loss": loss, "epochs": 6})
    assert standing.history[-1]["validation_loss"] < standing.history[0]["validation_loss"]


def test_a_loss_that_is_no_number_ends_with_a_sentence() -> None:
    broken = moving(4, 1)
    broken[0].features[3] = np.nan
    with pytest.raises(TrainingError, match=r"the loss became nan in epoch \d: lower learning\.learning_rate"):
        train(network(), broken)


def test_nothing_to_learn_from_is_refused() -> None:
    silent = moving(2, 1)
    for sequence in silent:
        sequence.labels[:] = UNLABELLED
    with pytest.raises(TrainingError, match="no labelled step"):
        train(network(), silent)
    wrong = moving(2, 1)
    wrong[1].labels[:] = 2
    with pytest.raises(TrainingError, match=r"v1 has label number 2, and there are only 2 labels"):
        train(network(), wrong)


def test_a_fine_tuned_encoder_changes_with_the_rest_and_survives_a_stop() -> None:
    rng = np.random.default_rng(0)
    films = [
        FeatureSequence(f"v{n}", f"g{n}", rng.integers(0, 256, (12, 8, 8, 3)).astype(np.uint8), np.arange(12) / 5.0,
                        np.full(12, n % 2))
        for n in range(4)
    ]  # fmt: skip
    how = {"validation": films, "fine_tuned": True}
    settings = {"epochs": 3, "lanes": 2, "encoder_learning_rate": 0.01}
    whole, resumed = (network(encoder="conv", height=8, width=8) for _ in range(2))
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    standing = train(whole, films, settings=dict(settings), **how)
    changed = [name for name, value in whole.state_dict().items() if not torch.equal(value, before[name])]
    assert any(name.startswith("encoder.") for name in changed)
    assert any(name.startswith("encoder.") for name in standing.weights)
    half = train(network(encoder="conv", height=8, width=8), films, settings=dict(settings), until=1, **how)
    train(resumed, films, settings=dict(settings), start=half, **how)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


# ---- answers ---------------------------------------------------------------------------------------------------------
def test_answers_are_those_of_each_sequence_alone() -> None:
    model = network()
    some = moving(3, 4, steps=7) + moving(3, 5, steps=11)
    together = answer(model, some)
    for sequence, logits in zip(some, together, strict=True):
        np.testing.assert_allclose(answer(model, [sequence])[0], logits, atol=1e-6)


def test_a_stream_carries_its_state_over_cuts() -> None:
    model = network()
    some = moving(3, 4)
    stream, alone = answer(model, some, carry=True), answer(model, some)
    np.testing.assert_allclose(stream[0], alone[0], atol=1e-6)
    assert np.abs(stream[1] - alone[1]).max() > 1e-4
    assert [len(part) for part in stream] == [12, 12, 12]


def test_clip_scores_are_of_runs_of_one_label_after_the_warm_up() -> None:
    labels = np.array([UNLABELLED, 0, 0, 1, 1, 1])
    sequence = FeatureSequence("v", "g", np.zeros((6, 6), np.float32), np.arange(6) / 2.0, labels)
    logits = np.log(np.array([[0.5, 0.5], [0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]], np.float32))
    assert runs(labels) == [(1, 3), (3, 6)]
    clips = clip_scores([logits], [sequence], "mean")
    np.testing.assert_allclose(clips.scores, [[0.8, 0.2], [0.3, 0.7]], atol=1e-6)
    assert (clips.truth.tolist(), clips.groups, clips.accuracy) == ([0, 1], ("g", "g"), 1.0)
    warm = clip_scores([logits], [sequence], "mean", warm_s=1.0)
    np.testing.assert_allclose(warm.scores, [[0.7, 0.3], [0.3, 0.7]], atol=1e-6)
    all_cold = clip_scores([logits], [sequence], "last", warm_s=9.0)
    np.testing.assert_allclose(all_cold.scores, [[0.7, 0.3], [0.3, 0.7]], atol=1e-6)
    assert macro_map(clips) == 1.0


def test_a_higher_temperature_is_less_sure() -> None:
    logits = np.array([[2.0, 0.0]], np.float32)
    assert softmax(logits)[0, 0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert softmax(logits, 2.0)[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))


# ---- every family ----------------------------------------------------------------------------------------------------
ON_AN_ENCODER = sorted(name for name, (_, options) in SMALL.items() if "encoder" in options)


@pytest.mark.parametrize("name", ON_AN_ENCODER)
def test_every_family_learns_in_the_same_loop(name: str) -> None:
    family, options = SMALL[name]
    torch.manual_seed(0)
    model = build_family(family, {**options, "labels": 2})
    rng = np.random.default_rng(0)
    sequences = []
    for number in range(12):
        drift = (1 if number % 2 else -1) * (0.5 + 0.2 * np.arange(10))  # its differences tell as well
        noise = rng.normal(0, 0.3, (10, *model.step_features))
        features = (noise + drift.reshape(10, *[1] * (noise.ndim - 1))).astype(np.float32)
        sequences.append(
            FeatureSequence(f"v{number}", f"g{number}", features, np.arange(10) / model.fps, np.full(10, number % 2))
        )
    settings = {"epochs": 6, "lanes": 4, "steps": 6, "join": 1.0, "learning_rate": 0.02}
    standing = train(model, sequences, validation=sequences, settings=settings)
    assert min(epoch["validation_loss"] for epoch in standing.history) < 0.35  # chance is log 2


def test_a_lane_that_starts_afresh_gets_nothing_of_the_sequence_before_and_one_that_goes_on_gets_all() -> None:
    class Watched(type(network())):  # type: ignore[misc]
        def forward(self, features, dt, state=None):  # type: ignore[no-untyped-def]
            if self.training:
                given.append([bool(each.abs().sum() > 0) for each in state[0]])
            return super().forward(features, dt, state)

    given: list[list[bool]] = []
    model = network()
    model.__class__ = Watched
    expected: list[list[bool]] = []
    settings = {"epochs": 1, "lanes": 4, "steps": 4, "reset": 0.3, "join": 0.5, "drop": 0.0}
    whole = msgspec.structs.replace(SETTINGS, **settings)
    walk = Walk([moving(40, 1)], whole, model.fps, np.random.default_rng([3, WALK_SEED, 0]))
    expected = [(~walk.next().fresh).tolist() for _ in range(walk.chunks)]
    train(model, settings=settings, validation=[])
    assert given == expected
    assert 0.2 < np.mean(expected) < 0.8


def test_of_epochs_that_are_equally_good_the_first_is_kept() -> None:
    model = network()
    standing = train(model, settings={"learning_rate": 1e-38, "weight_decay": 0.0, "patience": 2, "epochs": 9})
    assert (standing.best_epoch, standing.epoch) == (1, 3)


def test_a_long_sequence_is_answered_in_one_go_though_it_is_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, long = network(), moving(3, 5, steps=70)
    whole = answer(model, long)
    monkeypatch.setattr("engines.training.answers.STEPS", 16)
    for part, expected in zip(answer(model, long), whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-5)


def test_the_first_step_of_a_sequence_has_a_nominal_period_behind_it() -> None:
    (one,) = moving(1, 5)
    late = FeatureSequence(one.name, one.group, one.features, one.times_s + 100.0, one.labels)
    np.testing.assert_allclose(step_inputs(network(), late)[1], 0.2, rtol=1e-5)


@pytest.mark.parametrize("change", ["more", "fewer", "larger"])
def test_weights_of_another_network_are_refused(change: str) -> None:
    model = network()
    weights = dict(model.state_dict())
    name = "reduce.0.weight"
    if change == "fewer":
        del weights[name]
    else:
        weights["another" if change == "more" else name] = torch.zeros(3, 99)
    with pytest.raises(TrainingError, match=r"^w holds (a|another) network"):
        restore(model, weights, "w")
    restore(model, {name: value for name, value in model.state_dict().items() if name[:8] != "encoder."}, "x")
