"""`vidpipe run` on a terminal that nobody reads: cameras go on, and an end is an end."""

from __future__ import annotations

import signal
import subprocess

import pytest
from processes import VIDPIPE, environment, write_config
from terminals import terminal

from pipeline.stream.messages import Status
from pipeline.stream.subscriber import Subscriber


@pytest.mark.parametrize("streams", ["both", "output"])
def test_frames_go_on_before_a_stopped_terminal_and_it_ends_when_asked(tmp_path, streams):
    config, address = write_config(tmp_path, {"a": "scene://?seed=1", "b": "scene://?seed=2"})
    command = [VIDPIPE, "run", "--config", str(config)]
    with terminal() as shown, Subscriber(address, kinds=["status"]) as subscriber:
        errors = shown.fd if streams == "both" else subprocess.DEVNULL
        with subprocess.Popen(
            command, stdout=shown.fd, stderr=errors, cwd=tmp_path, env=environment(tmp_path, TERM="xterm")
        ) as run:
            try:
                shown.read_until("running")
                shown.stop()
                first = processed(subscriber)
                # at a frame or more a second, ten more of each camera take longer than the terminal's buffer lasts
                while any(now < first[name] + 20 for name, now in processed(subscriber).items()):
                    assert run.poll() is None
                run.send_signal(signal.SIGTERM)
                assert run.wait(20) == 0
            finally:
                run.kill()


def processed(subscriber: Subscriber) -> dict[str, int]:
    """How many frames of each camera were processed, as of now."""
    found: dict[str, int] = {}
    while len(found) < 2:
        message = subscriber.receive(10.0)
        assert isinstance(message, Status), "the pipeline stands still"
        found[message.camera] = message.counts.processed
    return found
