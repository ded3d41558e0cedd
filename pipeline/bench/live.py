"""A `vidpipe run` beside us: fake cameras in one process, the pipeline in another, and we are the subscriber."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from engines.errors import SourceError
from pipeline.capture.confinement import MEASURED

_LEAVE_S = 20.0
VIDPIPE = (sys.executable, "-c", "from pipeline.cli.main import main; main()")


class FakeCameras(list[str]):
    """The URLs of the cameras, in order, and the process that serves them."""

    def __init__(self, urls: Sequence[str], process: psutil.Process) -> None:
        super().__init__(urls)
        self.process = process


@dataclass(frozen=True)
class LiveRun:
    """A running pipeline: where it publishes, its process, and whether that still runs."""

    address: str
    process: psutil.Process
    alive: Callable[[], bool]


@contextmanager
def fake_cameras(*arguments: object) -> Iterator[FakeCameras]:
    """`vidpipe fakecam` in a process of its own.

    Raises:
        SourceError: it did not start.
    """
    command = [*VIDPIPE, "fakecam", *map(str, arguments), "--port", "0", "--json"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SourceError("the fake cameras did not start: see the line above")
        try:
            urls = [camera["url"] for camera in json.loads(line)["cameras"]]
            yield FakeCameras(urls, psutil.Process(process.pid))
        finally:
            _end(process, signal.SIGTERM)


@contextmanager
def live_run(
    sources: Sequence[str],
    *,
    model: str,
    backend: str = "auto",
    precision: str | None = None,
    rate_hz: float | None = None,
    program: Sequence[str] = VIDPIPE,
) -> Iterator[LiveRun]:
    """`vidpipe run` on cameras cam0, cam1, ... in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    own = {"model": str(model), **({"fps": rate_hz} if rate_hz else {})}
    settings = {
        "cameras": {f"cam{k}": {"source": source, **own} for k, source in enumerate(sources)},
        "publish": {"bind": address, "replay": "tcp://127.0.0.1:*"},
        "inference": {"backend": backend, **({"precision": precision} if precision else {})},
    }
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "vidpipe.yaml"
        # the user's own folder of states is none of a trial's business
        config.write_text(yaml.safe_dump({**settings, "state": {"folder": str(Path(folder) / "state")}}))
        command = [*program, "run", "--config", str(config)]
        environment = {**os.environ, MEASURED: "1"}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
            try:
                yield LiveRun(address, psutil.Process(process.pid), lambda: process.poll() is None)
            finally:
                _end(process, signal.SIGINT)


def _end(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    """Ask it to leave; after a while make it leave."""
    process.send_signal(number)
    try:
        process.wait(_LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()
