"""The README's own words: its example runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from processes import VIDPIPE, environment, free_port, running, write_config

from engines.further import FurtherInput
from pipeline.config.schema import Camera, Config, Continuity, Inference, InputSource, Publish
from pipeline.inputs.receiver import InputPlan, InputReceiver
from pipeline.inputs.sockets import Endpoint

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run_until_it_prints(code: str, address: str, folder: Path) -> str:
    code = code.replace("tcp://127.0.0.1:5555", address)
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment(folder)) as reader:
        assert reader.stdout is not None
        bound = threading.Timer(60.0, reader.kill)  # where the pipeline died, its subscriber waits for ever
        bound.start()
        line = reader.stdout.readline()
        bound.cancel()
        reader.kill()
    return line


@pytest.mark.parametrize("text", [README, (ROOT / "docs" / "stream.md").read_text()], ids=["README", "stream.md"])
def test_the_subscriber_examples_print_predictions(tmp_path, text):
    example, *_ = blocks("python", text)
    config, address = write_config(tmp_path, {"camera0": "scene://"})
    with running("run", "--config", config, folder=tmp_path):
        line = run_until_it_prints(example, address, tmp_path)
    assert re.search(r"idle|passing|loitering|left_behind", line), line


@pytest.mark.parametrize("number", [-2, -1])
def test_the_sender_examples_are_understood(tmp_path, number):
    example = blocks("python", (ROOT / "docs" / "stream.md").read_text())[number]
    address = f"tcp://127.0.0.1:{free_port()}"
    code = example.replace("tcp://127.0.0.1:5560", address)
    plan = InputPlan("camera0", FurtherInput("audio", 1), Endpoint("audio", address, bind=False))
    command, deadline_s = [sys.executable, "-c", code], time.monotonic() + 30
    with InputReceiver([plan]) as receiver, subprocess.Popen(command, cwd=tmp_path) as sender:
        while not receiver.counts("camera0")["audio"].received:
            assert time.monotonic() < deadline_s
            receiver.read()
            threading.Event().wait(0.01)
        sender.kill()
    assert receiver.counts("camera0")["audio"].rejected == 0


def test_the_example_configuration_is_valid(tmp_path):
    (example,) = blocks("yaml")
    (tmp_path / "vidpipe.yaml").write_text(example)
    code = "from vidpipe import load_config; print(*load_config().cameras)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path, CAM_PASSWORD="x"),
        check=True,
    )
    assert done.stdout == "front\n"


def test_every_command_that_is_named_exists():
    code = "\n".join([*blocks(""), *re.findall(r"`(vidpipe [^`]*)`", README)])
    named = set(re.findall(r"vidpipe ([a-z]+)\b", code))
    known = subprocess.run([VIDPIPE, "--help"], capture_output=True, text=True, check=True).stdout
    assert named
    assert not [command for command in named if f" {command} " not in known]


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/configuration.md", "docs/stream.md", "docs/multimodal.md"]
)
def test_links_lead_somewhere(page):
    file = ROOT / page
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", file.read_text()) if "://" not in t]
    assert not [target for target in targets if not (file.parent / target).exists()]


def test_the_documentation_names_every_setting():
    text = (ROOT / "docs" / "configuration.md").read_text()
    for section in (Camera, Config, Continuity, Inference, InputSource, Publish):
        assert not [key for key in section.model_fields if key not in text]
