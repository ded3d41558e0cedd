"""`vidpipe run` as a user knows it: the scene, files, signals; nothing left behind."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from processes import running, vidpipe, write_config
from videos import write_video

from pipeline.stream.subscriber import Subscriber

LABELS = {"idle", "passing", "loitering", "left_behind"}


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def without_times_and_ids(message: dict) -> dict:
    own = {"captured_at", "published_at", "latency", "epoch", "session", "id"}
    return {key: value for key, value in message.items() if key not in own}


def wait_for_clip(address: str) -> None:
    with Subscriber(address) as subscriber:
        assert subscriber.receive(30.0) is not None


def test_the_scene_runs_on_the_embedded_defaults_without_any_file(tmp_path):
    result = vidpipe("run", "camera0", "--duration", 8, "--json", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    clips = [m for m in lines(result.stdout) if m["schema"] == "vidpipe.clip/1"]
    assert len(clips) >= 3
    assert [c["clip"]["index"] for c in clips] == list(range(len(clips)))
    assert [c["seq"] for c in clips] == list(range(1, len(clips) + 1))
    assert {c["label"] for c in clips} <= LABELS
    assert all(set(c["scores"]) == LABELS and abs(sum(c["scores"].values()) - 1) < 1e-4 for c in clips)
    assert all(c["model"]["name"] == "scene" and len(c["model"]["sha"]) == 64 for c in clips)
    for clip in clips:
        # a busy machine may thin the stream; what it drops it says, and the memory lives on
        assert abs(clip["clip"]["frames"] + clip["clip"]["dropped"] - 10) <= clip["clip"]["dropped"]
        assert clip["state"]["reset_reason"] == "start"
        assert clip["state"]["age_s"] == pytest.approx(clip["media_time"] - clips[0]["clip"]["start"], abs=0.3)


def test_plain_lines_for_people_where_there_is_no_terminal(tmp_path):
    result = vidpipe("run", "--duration", 8, folder=tmp_path)
    assert result.returncode == 0
    assert "camera0      running" in result.stdout
    assert "0.0 -    2.0 s" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.timeout(240)
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_files_give_the_same_predictions_every_time(tmp_path, backend):
    videos = {
        "a": write_video(tmp_path / "a.mp4", 120),
        "b": write_video(tmp_path / "b.mp4", 75, width=640, height=480),
    }
    outputs = []
    for _ in range(2):
        config, _address = write_config(tmp_path, videos)
        result = vidpipe("run", "--config", config, "--json", "--backend", backend, folder=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        outputs.append([json.dumps(without_times_and_ids(m)) for m in lines(result.stdout)])
    assert outputs[0] == outputs[1]
    clips = [json.loads(text) for text in outputs[0] if '"vidpipe.clip/1"' in text]
    ends = {name: [c["clip"]["end"] for c in clips if c["camera"] == name] for name in videos}
    assert ends == {"a": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], "b": [2.0, 3.0, 4.0, 5.0]}
    assert all(c["clip"]["frames"] == 10 and c["clip"]["dropped"] == 0 for c in clips)
    assert {c["model"]["backend"] for c in clips} == {backend}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_leaves_nothing_behind(tmp_path, number):
    config, address = write_config(tmp_path, {"a": "scene://?seed=1", "b": "scene://?seed=2"})
    memory_before = set(Path("/dev/shm").iterdir())
    with running("run", "--config", config, folder=tmp_path) as process:
        wait_for_clip(address)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2
        started_s = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        took_s = time.monotonic() - started_s
    assert (process.returncode, errors) == (0, "")
    assert took_s < 5
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert set(Path("/dev/shm").iterdir()) == memory_before


def test_capture_processes_die_with_their_parent(tmp_path):
    config, address = write_config(tmp_path, {"a": "scene://"})
    with running("run", "--config", config, folder=tmp_path) as process:
        wait_for_clip(address)
        children = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=5)
    assert children
    assert not alive


def test_the_address_of_a_camera_is_in_no_process_list_and_no_output(tmp_path):
    secret = "c4nary-p4ss"
    config, address = write_config(tmp_path, {"a": f"rtsp://cam:{secret}@127.0.0.1:9/x", "b": "scene://"})
    with running("run", "--config", config, "--json", folder=tmp_path) as process:
        wait_for_clip(address)
        everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        shown = [" ".join(p.cmdline()) for p in everyone]
        with Subscriber(address, kinds=["status"]) as subscriber:
            statuses = [subscriber.receive(10.0) for _ in range(4)]
        process.send_signal(signal.SIGINT)
        shown += process.communicate(timeout=10)
    shown += [repr(status) for status in statuses]
    assert any("refuses the connection" in text for text in shown), "the camera that is not there is reported"
    assert not [text for text in shown if secret in text]


def test_watch_shows_what_a_run_publishes(tmp_path):
    config, _ = write_config(tmp_path, {"a": "scene://"})
    with running("run", "--config", config, folder=tmp_path):
        result = vidpipe("watch", "a", "--config", config, "--json", "--count", 2, "--timeout", 30, folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    kinds = [m["schema"] for m in lines(result.stdout)]
    assert kinds.count("vidpipe.clip/1") == 2
    assert "vidpipe.status/1" in kinds


def test_watch_without_a_publisher_says_so(tmp_path):
    config, address = write_config(tmp_path, {"a": "scene://"})
    result = vidpipe("watch", "--config", config, "--timeout", 1, folder=tmp_path)
    assert result.returncode == 1
    hint = "is vidpipe run running there, and does it let you in (--keys)?"
    assert result.stderr == f"vidpipe: no clip came from {address} within 1 s: {hint}\n"
    assert result.stdout == f"listening at {address}; stop with Ctrl-C\n"
