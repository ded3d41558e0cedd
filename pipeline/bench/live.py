"""A `vidpipe run` beside us: fake cameras in one process, the pipeline in another, and we are the subscriber."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from engines.errors import SourceError

_COMMAND = [sys.executable, "-c", "from pipeline.cli.main import main; main()"]


@dataclass(frozen=True)
class LiveRun:
    """A running pipeline: where it publishes, and its process."""

    address: str
    process: psutil.Process


@contextmanager
def fake_cameras(*arguments: object) -> Iterator[list[str]]:
    """`vidpipe fakecam` in a process of its own; the URLs of its cameras, in order."""
    command = [*_COMMAND, "fakecam", *map(str, arguments), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SourceError("the fake cameras did not start: see the line above")
        try:
            yield [camera["url"] for camera in json.loads(line)["cameras"]]
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def live_run(
    sources: list[str], *, model: str, backend: str = "auto", rate_hz: float | None = None
) -> Iterator[LiveRun]:
    """`vidpipe run` on cameras cam0, cam1, ... in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    own = {"model": str(model), **({"fps": rate_hz} if rate_hz else {})}
    cameras = {f"cam{k}": {"source": source, **own} for k, source in enumerate(sources)}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "vidpipe.yaml"
        settings = {"cameras": cameras, "publish": {"bind": address}, "inference": {"backend": backend}}
        config.write_text(yaml.safe_dump(settings))
        command = [*_COMMAND, "run", "--config", str(config)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                yield LiveRun(address, psutil.Process(process.pid))
            finally:
                process.send_signal(signal.SIGINT)
