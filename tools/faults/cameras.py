"""Fake cameras in a process of their own, each on a port of its own, steered by lines of JSON.

As a program it serves a video as so many cameras and does what its standard input says; `steered_cameras` starts that.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import psutil

from engines.errors import VidpipeError
from pipeline.fakecam import FakeCamera, open_media
from pipeline.fakecam.faults import Fault

_LEAVE_S = 10.0


class Command(msgspec.Struct, frozen=True):
    """What one camera is to do; `fault` goes with `inject`."""

    camera: int
    act: str
    fault: Fault | None = None


class Answer(msgspec.Struct, frozen=True):
    """When it was done, on the monotonic clock, or why not."""

    at_s: float
    error: str = ""


class SteeredCameras:
    """The parent's side: the cameras' addresses, and their remote control."""

    def __init__(self, process: subprocess.Popen[bytes], urls: list[str]) -> None:
        self.urls = urls
        self.process = psutil.Process(process.pid)
        self._process = process

    def do(self, camera: int, act: str, fault: Fault | None = None) -> float:
        """Let a camera do something and wait until it is done; the monotonic time of that.

        Raises:
            RuntimeError: it could not.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(Command(camera, act, fault)) + b"\n")
        self._process.stdin.flush()
        answer = msgspec.json.decode(self._process.stdout.readline(), type=Answer)
        if answer.error:
            raise RuntimeError(f"camera {camera} could not {act} {fault or ''}: {answer.error}")
        return answer.at_s


@contextmanager
def steered_cameras(video: Path, cameras: int) -> Iterator[SteeredCameras]:
    """So many cameras that show the video, until the context ends."""
    command = [sys.executable, str(Path(__file__)), str(video), str(cameras)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield SteeredCameras(process, msgspec.json.decode(process.stdout.readline(), type=list[str]))
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("cameras", type=int)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        media = open_media(arguments.video, arguments.cameras)
        servers = [stack.enter_context(FakeCamera(one, path=f"camera{k}")) for k, one in enumerate(media)]
        _say(msgspec.json.encode([server.url for server in servers]))
        for line in sys.stdin.buffer:
            command = msgspec.json.decode(line, type=Command)
            _say(msgspec.json.encode(_obey(servers[command.camera], command)))


def _obey(server: FakeCamera, command: Command) -> Answer:
    acts: dict[str, Callable[[], object]] = {
        "disconnect": server.disconnect_all,
        "pause": server.pause,
        "resume": server.resume,
        "stop": server.stop,
        "start": server.start,
        "clear": server.clear,
        "inject": lambda: server.inject(command.fault) if command.fault else None,
    }
    try:
        acts[command.act]()
    except (KeyError, VidpipeError) as error:
        return Answer(time.monotonic(), f"{type(error).__name__}: {error}")
    return Answer(time.monotonic())


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
