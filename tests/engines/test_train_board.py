"""TensorBoard logs: written where they belong, and closed without a long wait."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from engines.training.clips.board import board


def test_closing_never_waits_for_minutes_when_the_writer_missed_its_wake_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's thread wakes by itself after `flush_secs`: the longest that a lost wake-up can hold up Ctrl-C."""
    package = pytest.importorskip("torch.utils.tensorboard")
    asked: list[object] = []
    original = package.SummaryWriter

    def watched(*arguments: object, **options: object) -> object:
        asked.append(options.get("flush_secs", 120))
        return original(*arguments, **options)

    monkeypatch.setattr(package, "SummaryWriter", watched)
    with board(tmp_path, "fit", 0) as log:
        log("loss", 0.5, 1)
    assert [seconds <= 5 for seconds in asked if isinstance(seconds, int)] == [True]
    assert [b"loss" in file.read_bytes() for file in (tmp_path / "fit").iterdir()] == [True]
