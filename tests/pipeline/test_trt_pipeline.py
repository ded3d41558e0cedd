"""The whole pipeline on the GPU that is none: it does not know, and says what it says on a CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fake_gpu
import pytest
from processes import write_config
from videos import write_video

from engines.backends import BACKENDS
from pipeline.app import RunOptions, run
from pipeline.config.load import load_config
from pipeline.stream.messages import Message, Prediction


def clips(folder: Path, videos: dict[str, Path], backend: str) -> list[Prediction]:
    """What a run over the files publishes."""
    path, _ = write_config(folder, videos)
    config = load_config(path)
    messages: list[Message] = []
    run(config, config.cameras, RunOptions(backend=backend), messages.append)
    return [message for message in messages if isinstance(message, Prediction)]


def test_files_give_the_same_predictions_as_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    videos = {"a": write_video(tmp_path / "a.mp4", 90), "b": write_video(tmp_path / "b.mp4", 60, width=640, height=480)}
    on_cpu = clips(tmp_path, videos, "onnxruntime")
    monkeypatch.setitem(BACKENDS, "tensorrt", replace(BACKENDS["tensorrt"], may_crash=False))
    for machine in fake_gpu.install(monkeypatch):
        on_gpu = clips(tmp_path, videos, "auto")
        assert machine.launches
        # features never come down: prob, logits and ok of 4 labels and 16 cameras at most
        assert max(nbytes for direction, nbytes in machine.copied if direction == "down") <= 16 * 4 * 4
    assert {clip.model.backend for clip in on_gpu} == {"tensorrt"}
    assert [(clip.camera, clip.label, clip.clip.end) for clip in on_gpu] == [
        (clip.camera, clip.label, clip.clip.end) for clip in on_cpu
    ]
    assert len(on_gpu) >= 6
    for one, other in zip(on_gpu, on_cpu, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)
