"""The whole pipeline on the GPU that is none: it does not know, and says what it says on a CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fake_gpu
import pytest
from further_bundle import write_further_bundle
from processes import write_config
from videos import write_video

from engines.backends import BACKENDS
from pipeline.app import RunOptions, Started, run
from pipeline.config.load import load_config
from pipeline.inputs.sender import InputSender
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


def test_what_comes_beside_the_video_reaches_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setitem(BACKENDS, "tensorrt", replace(BACKENDS["tensorrt"], may_crash=False))
    model, video = write_further_bundle(tmp_path / "listener"), write_video(tmp_path / "a.mp4", 90)
    messages: list[Message] = []
    with InputSender("tcp://127.0.0.1:*") as sender:

        def send(_: Started) -> None:
            assert sender.wait_for_listener()
            for tick in range(15):
                sender.send("a", "audio", [1.0, 0.0], media_time=tick / 5)

        camera = {"source": str(video), "model": str(model), "inputs": {"audio": {"connect": sender.address}}}
        config = load_config(write_config(tmp_path, {"a": camera})[0])
        for machine in fake_gpu.install(monkeypatch):
            run(config, config.cameras, RunOptions(backend="tensorrt"), messages.append, send)
            assert machine.launches
    clips = [message for message in messages if isinstance(message, Prediction)]
    assert [clip.label for clip in clips] == ["loud"] * 3 + ["quiet"] * 3
    assert [clip.inputs["audio"].present for clip in clips] == [1, 1, 1, 0.4, 0, 0]
    assert {clip.model.backend for clip in clips} == {"tensorrt"}
