"""Memory that outlives the process: a kill, an orderly stop, and a disk that is full."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from processes import VIDPIPE, environment, write_config

from pipeline import app
from pipeline.config.load import load_config, select_cameras
from pipeline.config.schema import Config
from pipeline.durability.files import CheckpointFiles
from pipeline.durability.format import decode_checkpoint
from pipeline.stream.messages import Message, Prediction, Status
from pipeline.stream.subscriber import Subscriber

pytestmark = pytest.mark.timeout(300)
_CLIP, _FPS = "vidpipe.clip/1", 5


class Run:
    """`vidpipe run --json` in a process of its own, and its clips as they come."""

    def __init__(self, config: Path, folder: Path) -> None:
        command = [VIDPIPE, "run", "--json", "--config", str(config)]
        own = environment(folder)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=own)

    def clips(self, count: int) -> list[dict]:
        found: list[dict] = []
        for line in self.process.stdout:
            message = json.loads(line)
            found += [message] if message["schema"] == _CLIP else []
            if len(found) == count:
                return found
        raise AssertionError("vidpipe ended")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        return self.process.returncode


@contextmanager
def vidpipe_run(config: Path, folder: Path) -> Iterator[Run]:
    run = Run(config, folder)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
        run.process.communicate()


def configure(folder: Path, max_gap_s: float = 60.0, source: str = "scene://") -> Path:
    camera = {"source": source, "continuity": {"max_gap_s": max_gap_s}}
    state = {"folder": str(folder / "state")}
    return write_config(folder, {"camera0": camera}, state=state, metrics={"bind": "off"})[0]


def newest(folder: Path):
    found = [decode_checkpoint(path.read_bytes()) for path in CheckpointFiles(folder).paths("camera0") if path.exists()]
    return max(found, key=lambda each: each.memory.age_steps)


def check_goes_on(before: dict, after: dict) -> None:
    assert after["session"] == before["session"]
    assert after["epoch"] > before["epoch"]
    assert after["state"]["warm"]
    assert after["state"]["reset_reason"] == "start"
    # the camera's clock went on while nobody looked
    media_s = after["media_time"] - before["media_time"]
    assert media_s == pytest.approx((after["captured_at"] - before["captured_at"]) / 1e9, abs=0.1)


def test_a_pipeline_that_was_stopped_goes_on_with_its_session(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    config = load_config(configure(tmp_path))
    stepped, following = (first_status(config, least) for least in (2, 0))
    assert stepped.session == following.session != ""
    assert stepped.epoch < following.epoch


def first_status(config: Config, least: int) -> Status:
    """Run in this process until so many frames were stepped."""
    found: list[Status] = []

    def hear(message: Message) -> None:
        if isinstance(message, Status) and message.counts.processed >= least and not found:
            found.append(message)
            signal.raise_signal(signal.SIGTERM)

    app.run(config, select_cameras(config, []), app.RunOptions(duration_s=30.0), hear)
    return found[0]


@pytest.mark.slow
def test_killed_at_any_moment_a_camera_goes_on_with_its_session(tmp_path):
    config, rng = configure(tmp_path), np.random.default_rng(9)
    with vidpipe_run(config, tmp_path) as run:
        last = run.clips(4)[-1]
        run.end(signal.SIGKILL)
    for _ in range(4):
        with vidpipe_run(config, tmp_path) as run:
            first, *_, following = run.clips(1 + int(rng.integers(2, 4)))
            check_goes_on(last, first)
            # lost is what was stepped after the last checkpoint, 1 s at most, and as much for a busy machine
            assert first["state"]["age_steps"] >= last["state"]["age_steps"] - 2 * _FPS
            last = following
            run.end(signal.SIGKILL)


@pytest.mark.slow
def test_an_orderly_stop_loses_no_step(tmp_path):
    config = configure(tmp_path)
    with vidpipe_run(config, tmp_path) as run:
        last = run.clips(3)[-1]
        assert run.end(signal.SIGTERM) == 0
    kept = newest(tmp_path / "state" / "checkpoints")
    assert kept.memory.age_steps >= last["state"]["age_steps"]
    with vidpipe_run(config, tmp_path) as run:
        (first,) = run.clips(1)
    check_goes_on(last, first)
    assert first["state"]["age_steps"] > kept.memory.age_steps


@pytest.mark.slow
def test_a_start_that_comes_too_late_begins_anew(tmp_path):
    config = configure(tmp_path, max_gap_s=0.4)
    with vidpipe_run(config, tmp_path) as run:
        last = run.clips(3)[-1]
        run.end(signal.SIGKILL)
    with vidpipe_run(config, tmp_path) as run:
        (first,) = run.clips(1)
    assert first["session"] != last["session"]
    assert first["state"]["age_steps"] <= 2 * _FPS


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """No space is left on the disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    yield
    filler.unlink()


@contextmanager
def immutable(folder: Path) -> Iterator[None]:
    """Nothing can be made, replaced or removed in the folder, not even by root."""
    if subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False).returncode:
        pytest.skip("chattr needs root and a file system that knows it")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="spoiling a disk needs root")
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_full_or_read_only_disk_stops_no_prediction_and_heals(tmp_path, fault):
    with small_disk(tmp_path / "disk", "4m") as disk:
        place = disk if fault == "full" else tmp_path
        state = {"folder": str(place / "state")}
        config, address = write_config(tmp_path, {"camera0": "scene://"}, state=state, metrics={"bind": "off"})
        checkpoints = place / "state" / "checkpoints"
        with vidpipe_run(config, tmp_path), Subscriber(address, kinds=["clip", "status"]) as subscriber:
            await_clips(subscriber, 1)
            with filled(disk) if fault == "full" else immutable(checkpoints):
                await_status(subscriber, lambda status: any("checkpoints cannot" in alarm for alarm in status.alarms))
                await_clips(subscriber, 3)
            await_status(subscriber, lambda status: not any("checkpoint" in alarm for alarm in status.alarms))
        assert newest(checkpoints).memory.age_steps > 3 * _FPS


def await_clips(subscriber: Subscriber, count: int) -> None:
    while count:
        message = subscriber.receive(30.0)
        assert message is not None
        count -= isinstance(message, Prediction)


def await_status(subscriber: Subscriber, condition) -> Status:
    for _ in range(500):
        message = subscriber.receive(30.0)
        assert message is not None
        if isinstance(message, Status) and condition(message):
            return message
    raise AssertionError("no such status came")
