"""A model with further inputs in a real run: values come, stop and come again; the predictions go on all the while."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from further_bundle import write_further_bundle
from processes import free_port, vidpipe, write_config
from videos import write_video

from pipeline import app
from pipeline.capture.supervisor import CameraState
from pipeline.config.load import load_config, select_cameras
from pipeline.inputs.sample import topic
from pipeline.inputs.sender import InputSender
from pipeline.stream.messages import InputCounts, Message, Prediction, Status

LOUD, QUIET = [1.0, 0.0], [0.0, 0.0]


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_further_bundle(tmp_path / "listener")


def run(
    folder: Path,
    cameras: dict[str, object],
    announce: Callable[[app.Started], None] = lambda _: None,
    listener: Callable[[Message], None] = lambda _: None,
) -> tuple[list[app.CameraOutcome], list[Message]]:
    path, _ = write_config(folder, cameras, inference={"backend": "onnxruntime"})
    config = load_config(path)
    heard: list[Message] = []

    def hear(message: Message) -> None:
        heard.append(message)
        listener(message)

    options = app.RunOptions(duration_s=60)
    return app.run(config, select_cameras(config, []), options, hear, announce), heard


def clips_of(messages: list[Message], camera: str) -> list[Prediction]:
    return [m for m in messages if isinstance(m, Prediction) and m.camera == camera]


def test_values_come_stop_and_come_again_beside_a_file(tmp_path, model):
    video = write_video(tmp_path / "a.mp4", 150)
    with InputSender("tcp://127.0.0.1:*") as sender:
        inputs = {"audio": {"connect": sender.address}}

        def send(_: app.Started) -> None:
            assert sender.wait_for_listener()
            for tick in (*range(15), *range(30, 50)):
                sender.send("a", "audio", LOUD if tick < 45 else QUIET, media_time=tick / 5)

        cameras = {"a": {"source": str(video), "model": str(model), "inputs": inputs}}
        outcomes, heard = run(tmp_path, {**cameras, "b": {"source": str(video), "model": str(model)}}, send)
    clips = clips_of(heard, "a")
    # the last value of the first spell counts half a second longer: for two more frames of five
    assert [c.inputs["audio"].present for c in clips] == [1, 1, 1, 0.4, 0, 0, 1, 1, 1, 1]
    assert [c.label for c in clips] == ["loud"] * 3 + ["quiet"] * 3 + ["loud"] * 3 + ["quiet"]
    assert {c.inputs["door"].present for c in clips} == {0.0}
    assert [c.clip.frames for c in clips] == [5] * 10, "nothing was waited for and nothing lost"
    without = clips_of(heard, "b")
    assert [c.label for c in without] == ["quiet"] * 10
    assert {c.inputs["audio"].present for c in without} == {0.0}
    assert [(o.state, o.processed) for o in outcomes] == [(CameraState.FINISHED, 50)] * 2
    last = {m.camera: m for m in heard if isinstance(m, Status)}
    assert last["a"].inputs == {"audio": InputCounts(35, 0)}
    assert last["b"].inputs == {}


def interrupt() -> None:
    """Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def test_values_come_stop_and_come_again_beside_a_live_camera(tmp_path, model):
    talking, over = threading.Event(), threading.Event()
    address = f"tcp://127.0.0.1:{free_port()}"
    stages = iter([(talking.clear, 1.0), (talking.set, 0.0), (interrupt, 1.0)])
    waiting = [next(stages)]

    def listener(message: Message) -> None:
        """Each stage ends with a clip that shows it."""
        if waiting and isinstance(message, Prediction) and message.inputs["audio"].present == waiting[0][1]:
            waiting.pop()[0]()
            waiting.extend([stage] if (stage := next(stages, None)) else [])

    def talk() -> None:
        with InputSender(address, bind=False) as sender:
            while not over.wait(0.05):
                if talking.is_set():
                    sender.send("a", "audio", LOUD)

    talking.set()
    speaker = threading.Thread(target=talk)
    speaker.start()
    try:
        source = {"source": "scene://?fps=10&width=64&height=48", "model": str(model)}
        _, heard = run(tmp_path, {"a": {**source, "inputs": {"audio": {"bind": address}}}}, listener=listener)
    finally:
        over.set()
        speaker.join()
    assert not waiting, "every stage was seen within the time"
    by_presence = {c.inputs["audio"].present: c.label for c in clips_of(heard, "a")}
    assert (by_presence[1.0], by_presence[0.0]) == ("loud", "quiet")
    ends = [c.clip.end for c in clips_of(heard, "a")]
    assert all(later - earlier == pytest.approx(1.0) for earlier, later in pairwise(ends))


def test_a_flood_of_garbage_and_of_values_stops_nothing(tmp_path, model, caplog):
    video = write_video(tmp_path / "a.mp4", 150)
    stop = threading.Event()
    with InputSender("tcp://127.0.0.1:*") as sender:

        def flood() -> None:
            while not stop.is_set():
                sender.send("a", "audio", LOUD)
                sender.send("a", "audio", [1.0] * 3)
                sender._socket.send_multipart([topic("a", "audio"), b"\xc1\xff garbage"])
                sender._socket.send_multipart([topic("z", "audio"), b""])

        flooding = threading.Thread(target=flood)

        def begin(_: app.Started) -> None:
            assert sender.wait_for_listener()
            flooding.start()

        inputs = {"audio": {"connect": sender.address}}
        try:
            camera = {"source": str(video), "model": str(model), "inputs": inputs}
            outcomes, heard = run(tmp_path, {"a": camera}, begin)
        finally:
            stop.set()
            flooding.join()
    assert [(o.state, o.processed) for o in outcomes] == [(CameraState.FINISHED, 50)]
    assert len(clips_of(heard, "a")) == 10
    counts = [m for m in heard if isinstance(m, Status)][-1].inputs["audio"]
    assert counts.received > 0
    assert counts.rejected > 0
    complaints = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "audio" in r.getMessage()]
    complaints = [text for text in complaints if not text.startswith("a runs without")]
    assert len(complaints) <= 2, "one line about the samples and one about the topic"


def test_a_camera_without_the_inputs_of_its_model_says_so_once(tmp_path, model):
    video = write_video(tmp_path / "a.mp4", 45)
    path, _ = write_config(tmp_path, {"a": {"source": str(video), "model": str(model)}})
    result = vidpipe("run", "--config", path, "--json", folder=tmp_path)
    assert result.returncode == 0
    (line,) = result.stderr.splitlines()
    assert "a runs without audio, door: the model" in line
    assert "cameras.a.inputs does not say where from" in line


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (
            {"audoi": {"connect": "tcp://127.0.0.1:5560"}},
            "has no such input, did you mean audio?; it takes audio, door",
        ),
        ({"audio": {}}, "cameras.a.inputs.audio: must have either connect or bind"),
        ({"audio": {"connect": "tcp://h:1", "bind": "tcp://127.0.0.1:2"}}, "must have either connect or bind"),
        ({"audio": {"connect": "tcp://127.0.0.1:*"}}, "only bind may leave the port open"),
        ({"audio": {"connect": "tcp://127.0.0.1:99999"}}, "it must end with a port from 1 to 65535"),
        ({"audio": {"connect": "127.0.0.1:5560"}}, "cameras.a.inputs.audio.connect: is '127.0.0.1:5560'"),
        ({"audio": {"adress": "tcp://127.0.0.1:1"}}, "unknown key; allowed are connect, bind"),
        ({"my audio": {"connect": "tcp://127.0.0.1:1"}}, "an input's name may hold letters, digits"),
        ({"audio": 5560}, "cameras.a.inputs.audio: is 5560; it must be a section of keys and values"),
    ],
)
def test_check_says_what_is_wrong_with_an_input(tmp_path, model, inputs, sentence):
    path, _ = write_config(tmp_path, {"a": {"source": "scene://", "model": str(model), "inputs": inputs}})
    result = vidpipe("check", "--config", path, folder=tmp_path)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_check_says_that_a_model_takes_nothing_beside_the_video(tmp_path):
    inputs = {"audio": {"connect": "tcp://127.0.0.1:5560"}}
    path, _ = write_config(tmp_path, {"a": {"source": "scene://", "inputs": inputs}})
    result = vidpipe("check", "--config", path, folder=tmp_path)
    assert (result.returncode, result.stderr) == (
        1,
        "vidpipe: cameras.a.inputs.audio: the model scene takes nothing beside the video: remove inputs, or choose "
        "another model\n",
    )


def test_an_address_that_others_can_reach_needs_consent(tmp_path, model):
    camera = {"source": "scene://", "model": str(model), "inputs": {"audio": {"bind": "tcp://0.0.0.0:*"}}}
    path, _ = write_config(tmp_path, {"a": camera})
    result = vidpipe("run", "--config", path, "--duration", 1, folder=tmp_path)
    assert result.returncode == 1
    assert "cameras.a.inputs.audio.bind is tcp://0.0.0.0:*, which other machines can reach" in result.stderr
