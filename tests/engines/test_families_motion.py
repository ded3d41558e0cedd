"""The family motion_average: averages by their equations, a look before learning, and a ridge that counts."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from engines.errors import ConfigError  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.families.motion_average import LEAST_MOTION, LEAST_WEIGHT, MotionAverage  # noqa: E402

OPTIONS: dict[str, object] = {
    "encoder": "conv", "height": 24, "width": 48, "fps": 5.0, "labels": 3,
    "grid": [3, 2], "thumbnail": [6, 8], "decay_s": 1.5, "sharpness": 3.0,
}  # fmt: skip


def network(**options: object) -> MotionAverage:
    torch.manual_seed(0)
    model = build_family("motion_average", {**OPTIONS, **options})
    assert isinstance(model, MotionAverage)
    return model.eval()


def filmed(model: MotionAverage, steps: int = 12, seed: int = 0) -> tuple[np.ndarray, torch.Tensor, np.ndarray]:
    """Frames with something that moves, their features, and dt."""
    rng = np.random.default_rng(seed)
    frames = np.repeat(rng.integers(0, 256, (1, 24, 48, 3)), steps, 0)
    for step in range(steps):
        frames[step, 4:12, 2 + 3 * step : 8 + 3 * step] = 255 - 10 * step
    frames = frames.astype(np.uint8)
    with torch.inference_mode():
        features = model.encoder(torch.from_numpy(frames))
    return frames, features, rng.choice([0.2, 0.4, 1.0], steps).astype(np.float32)


def by_hand(model: MotionAverage, features: np.ndarray, dt: np.ndarray) -> np.ndarray:
    """Statistics `[T, 4 C]` in plain numpy and float64, one step after the other."""
    channels, (rows, columns) = 48, (3, 2)
    shown, grid, small = np.split(features.astype(np.float64), [channels, channels * 7], axis=1)
    grid, small = grid.reshape(-1, channels, rows * columns), small.reshape(-1, 6, 8)
    means = np.zeros((3, channels))
    peak, weights, out = np.zeros(channels), np.zeros(2), []
    for t, seconds in enumerate(dt):
        leak = 1.0 - np.exp(-seconds / 1.5)
        means, peak, weights = means * (1 - leak), peak * (1 - leak), weights * (1 - leak)
        means[0] += leak * shown[t]
        weights[0] += leak
        if t:
            moved = np.abs(small[t] - small[t - 1]).reshape(rows, 2, columns, 4).mean((1, 3)).ravel()
            share = (moved / (moved.max() + LEAST_MOTION)) ** 3 + LEAST_WEIGHT
            moving = np.abs(grid[t] - grid[t - 1]) @ (share / share.sum())
            means[1] += leak * np.abs(shown[t] - shown[t - 1])
            means[2] += leak * moving
            weights[1] += leak
            peak = np.maximum(peak, moving)
        later = max(weights[1], LEAST_WEIGHT)
        out.append(np.concatenate([means[0] / weights[0], means[1] / later, means[2] / later, peak]))
    return np.stack(out)


def test_the_averages_are_those_of_the_equations() -> None:
    model = network()
    _, features, dt = filmed(model)
    with torch.inference_mode():
        found, _, known = model._sequence(features[None], torch.from_numpy(dt)[None], model.init_state(1))
    expected = by_hand(model, features.numpy(), dt)
    assert np.abs(found[0].numpy() - expected).max() < 1e-5
    assert known[0, 0].tolist() == [1.0] * 48 + [0.0] * 144  # the first frame has nothing to differ from
    assert known[0, 1:].min() == 1.0


def test_the_features_begin_with_the_encoders_vector_and_end_with_the_grey_frame() -> None:
    model = network()
    frames, features, _ = filmed(model)
    assert model.described == 48
    maps = model.encoder.encoder(torch.from_numpy(frames))
    assert torch.allclose(features[:, :48], maps.mean((2, 3)), atol=1e-6)
    cells = maps.reshape(-1, 48, 3, 1, 2, 3).mean((3, 5)).flatten(1)
    assert torch.allclose(features[:, 48 : 48 * 7], cells, atol=1e-6)
    grey = frames.astype(np.float64).mean(3).reshape(-1, 6, 4, 8, 6).mean((2, 4)) / 255.0
    assert np.abs(features[:, 48 * 7 :].numpy() - grey.reshape(-1, 48)).max() < 1e-5


def test_what_moves_counts_and_a_still_picture_is_no_division_by_zero() -> None:
    model = network()
    _, features, _ = filmed(model, steps=1)
    logits, _ = model(features.expand(4, -1)[None], torch.full((1, 4), 0.2))
    assert torch.isfinite(logits).all()
    pair = torch.rand(2, *model.features)
    pair[1, 48 * 7 :] = pair[0, 48 * 7 :]
    pair[1, 48 * 7 + 9] += 0.5  # one pixel of the thumbnail, in the upper left of six cells
    seen = model._see(pair[1:], pair[:1])
    change = (pair[1] - pair[0]).abs()[48 : 48 * 7].reshape(48, 6)
    assert torch.allclose(seen.moving[0], change[:, 0], atol=1e-3)


def test_it_looks_at_the_data_before_it_learns() -> None:
    model = network()
    sequences = [
        (features, torch.from_numpy(dt)) for _, features, dt in (filmed(model, seed=seed) for seed in range(3))
    ]
    model.look(iter(sequences))
    tables = []
    for features, dt in sequences:
        statistics, _, known = model._sequence(features[None], dt[None], model.init_state(1))
        tables.append(((statistics - model.centre) / model.scale)[0][known[0, :, -1] > 0])
    table = torch.cat(tables)
    assert table.mean(0).abs().max() < 1e-3
    varied = model.scale > 0.02
    assert varied.any()
    assert ((table.std(0, correction=0) - 1.0).abs() < 0.1)[varied].all()
    assert model.head.weight.abs().max() == 0.0


def test_the_ridge_is_the_squared_weights_of_the_head() -> None:
    model = network(ridge=2.0)
    assert model.penalty().item() == pytest.approx(2.0 * (model.head.weight**2).sum().item())
    assert network(ridge=0.0).penalty().item() == 0.0


@pytest.mark.parametrize(("option", "value", "said"), [
    ("grid", [4, 2], r"given grid: \[4, 2\], and there are only 3 x 6 cells of the map"),
    ("thumbnail", [25, 8], r"given thumbnail: \[25, 8\], and there are only 24 x 48 pixels of the frame"),
])  # fmt: skip
def test_what_is_finer_than_the_frame_is_refused(option: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        network(**{option: value})
