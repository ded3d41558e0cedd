"""Hot reload (R16): cameras that did not change lose nothing, those that did begin anew, a bad file changes nothing."""

from __future__ import annotations

import logging
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from processes import VIDPIPE, environment, running, vidpipe, write_config

from engines.bundle import load_bundle
from engines.errors import ConfigError
from pipeline import app
from pipeline.config.load import load_config, select_cameras
from pipeline.config.schema import Config
from pipeline.stream.messages import Event, Message, Prediction, Status
from pipeline.stream.subscriber import Subscriber


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))


class Story:
    """Runs vidpipe in this process; each step is a condition on the messages so far and what to do when it holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard: list[Message] = []
        self.config: Config | Exception | None = None
        self._steps: list[tuple[Callable[[Story], bool], Callable[[], None]]] = []

    def then(self, condition: Callable[[Story], bool], act: Callable[[], None]) -> None:
        self._steps.append((condition, act))

    def write(self, cameras: dict[str, object]) -> Config:
        path, _ = write_config(self.folder, cameras, publish={"bind": "tcp://127.0.0.1:*"})
        return load_config(path)

    def run(self, cameras: dict[str, object]) -> None:
        config = self.write(cameras)
        options = app.RunOptions(duration_s=60.0, load=self._load)
        app.run(config, select_cameras(config, []), options, self._hear)
        assert not self._steps, "the story did not come to its end within a minute"

    def reload(self, cameras: dict[str, object]) -> Callable[[], None]:
        def act() -> None:
            self.config = self.write(cameras)
            signal.raise_signal(signal.SIGHUP)

        return act

    def clips(self, camera: str) -> list[Prediction]:
        return [m for m in self.heard if isinstance(m, Prediction) and m.camera == camera]

    def last_status(self, camera: str) -> Status:
        return [m for m in self.heard if isinstance(m, Status) and m.camera == camera][-1]

    def _load(self):
        if isinstance(self.config, Exception):
            raise self.config
        return self.config, select_cameras(self.config, [])

    def _hear(self, message: Message) -> None:
        self.heard.append(message)
        if self._steps and self._steps[0][0](self):
            self._steps.pop(0)[1]()


def stop() -> None:
    signal.raise_signal(signal.SIGTERM)


def test_cameras_come_change_and_go_beside_one_that_does_not(tmp_path, caplog):
    story = Story(tmp_path)
    a, b = "scene://?seed=1", "scene://?seed=2"
    story.then(
        lambda s: len(s.clips("a")) >= 2 and len(s.clips("b")) >= 2,
        story.reload({"a": a, "b": {"source": "scene://?seed=3"}, "c": "scene://?seed=4"}),
    )
    bad = ConfigError("vidpipe.yaml is not valid")

    def spoil() -> None:
        story.config = bad
        signal.raise_signal(signal.SIGHUP)

    story.then(lambda s: bool(s.clips("c")), spoil)
    story.then(lambda s: any("runs on as it was" in r.message for r in caplog.records), story.reload({"a": a}))
    story.then(lambda s: s.last_status("c").state == "stopped" and s.last_status("b").state == "stopped", stop)
    with caplog.at_level(logging.INFO):
        story.run({"a": a, "b": b})
    kept, changed, added = (story.clips(name) for name in "abc")
    assert len({clip.session for clip in kept}) == 1
    assert [clip.clip.index for clip in kept] == list(range(len(kept)))
    assert {clip.clip.dropped for clip in kept} == {0}
    counts = story.last_status("a").counts
    assert (counts.thinned, counts.overrun, counts.resets, counts.connections) == (0, 0, 0, 1)
    assert counts.due == counts.processed + counts.in_flight
    assert changed[0].state.reset_reason == "start"
    assert {clip.state.reset_reason for clip in changed[2:]} <= {"start", "operator"}
    assert story.last_status("b").counts.connections == 1
    assert added[0].state.reset_reason == "start"
    told = [record.message for record in caplog.records if "taken over" in record.message]
    assert told[0].endswith("added c; changed b")
    assert "vidpipe.yaml is not valid" in told[1]
    assert told[2].endswith("removed b, c")


@pytest.mark.slow
def test_another_model_and_more_cameras_than_there_were_places_for(tmp_path):
    newer = tmp_path / "newer"
    shutil.copytree(load_bundle("scene").folder, newer)
    manifest = newer / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("version: 1.0.0", "version: 1.0.1"))
    many = {f"m{k}": f"scene://?seed={k}&width=64&height=48" for k in range(12)}
    a, b = {"source": "scene://?seed=1"}, {"source": "scene://?seed=2"}
    story = Story(tmp_path)
    story.then(
        lambda s: len(s.clips("a")) >= 2 and len(s.clips("b")) >= 2,
        story.reload({"a": a, "b": {**b, "model": str(newer)}, **many}),
    )
    story.then(lambda s: all(s.clips(name) for name in many) and s.clips("b")[-1].model.version == "1.0.1", stop)
    story.run({"a": a, "b": b})
    assert len({clip.session for clip in story.clips("a")}) == 1
    assert [clip.clip.index for clip in story.clips("a")] == list(range(len(story.clips("a"))))
    later = [clip for clip in story.clips("b") if clip.model.version == "1.0.1"]
    assert {clip.state.reset_reason for clip in later} == {"model_change"}
    status = story.last_status("b")
    assert (status.counts.resets, status.resets) == (1, {"model_change": 1})
    assert story.last_status("b").counts.connections == 1, "the camera itself was read on"
    ends = [m for m in story.heard if isinstance(m, Event) and m.camera == "b" and m.reason]
    assert {event.reason for event in ends} <= {"model_change", "stop"}


@pytest.mark.slow
def test_the_command_the_file_and_a_reset(tmp_path):
    config, address = write_config(tmp_path, {"a": "scene://?seed=1", "b": "scene://?seed=2"})
    with running("run", "--config", config, folder=tmp_path), Subscriber(address, kinds=["status"]) as states:

        def until(condition: Callable[[Status], bool]) -> Status:
            while (status := states.receive(30.0)) is not None:
                if condition(status):
                    return status
            raise AssertionError("no such status within 30 s")

        until(lambda s: s.camera == "a" and s.counts.processed > 0)
        settings = yaml.safe_load(config.read_text())
        settings["cameras"]["c"] = {"source": "scene://?seed=3"}
        config.write_text(yaml.safe_dump(settings))
        until(lambda s: s.camera == "c" and s.counts.processed > 0)
        done = vidpipe("reset", "a", "--config", config, folder=tmp_path)
        assert (done.returncode, done.stdout) == (
            0,
            "the policy for operator (a: reset) takes effect with the next frame\n",
        )
        assert until(lambda s: s.camera == "a" and s.counts.resets == 1).resets in ({}, {"operator": 1})
        settings["cameras"]["c"]["sorce"] = "scene://"
        config.write_text(yaml.safe_dump(settings))
        done = vidpipe("reload", "--config", config, folder=tmp_path)
        assert done.returncode == 1
        assert "sorce" in done.stderr
        del settings["cameras"]["c"], settings["cameras"]["b"]
        config.write_text(yaml.safe_dump(settings))
        done = vidpipe("reload", "--config", config, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout in ("removed b, c\n", "no camera changed\n")
        assert until(lambda s: s.camera == "c" and s.state == "stopped").counts.connections == 1
    done = vidpipe("reload", "--config", config, folder=tmp_path)
    assert done.returncode == 1
    assert "no vidpipe that runs with this configuration could be reached" in done.stderr


IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_it(tmp_path):
    config, address = write_config(tmp_path, {"a": "scene://?width=64&height=48"})
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", IN_TERMINAL, VIDPIPE, "run", "--json", "--config", str(config)]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with (
        subprocess.Popen(command, start_new_session=True, env=environment(tmp_path), **streams) as process,
        Subscriber(address, kinds=["clip", "status"]) as messages,
    ):
        os.close(theirs)
        while not isinstance(messages.receive(30.0), Prediction):
            pass
        os.close(ours)
        while not (isinstance(message := messages.receive(10.0), Status) and message.state == "stopped"):
            assert message is not None, "it runs on without its terminal"
        process.wait(10.0)
