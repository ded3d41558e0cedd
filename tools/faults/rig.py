"""A `vidpipe run` to be hurt: its own home, configuration and state folder, its output kept in files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from pipeline.bench.live import VIDPIPE
from pipeline.capture.confinement import MEASURED

_LEAVE_S = 20.0


@dataclass
class Rig:
    """A running pipeline, where it publishes and what it writes."""

    folder: Path
    config: Path
    address: str
    child: subprocess.Popen[bytes]

    @property
    def process(self) -> psutil.Process:
        """The main process."""
        return psutil.Process(self.child.pid)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.child.poll() is None

    @property
    def errors(self) -> str:
        """What it wrote to stderr so far."""
        return (self.folder / "stderr").read_text(errors="replace")

    def captures(self) -> list[psutil.Process]:
        """Its capture processes, zombies left out."""
        return [child for child in self.process.children() if lives(child)]

    def capture_of(self, port: int) -> psutil.Process | None:
        """The capture process that is connected to a camera's port."""
        for child in self.captures():
            try:
                peers = {link.raddr.port for link in child.net_connections("tcp") if link.raddr}
            except psutil.Error:
                continue
            if port in peers:
                return child
        return None

    def stop(self, number: int = signal.SIGTERM, patience_s: float = _LEAVE_S) -> tuple[int | None, float]:
        """Send a signal and wait; the exit code (None: had to be killed) and the seconds it took."""
        begun_s = time.monotonic()
        self.child.send_signal(number)
        try:
            code: int | None = self.child.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            code = None
        return code, time.monotonic() - begun_s


def leave_in_order() -> None:
    """Let SIGTERM end what was started before we leave, and SIGINT too where a shell put us into the background."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)


def free_address() -> str:
    """A ZeroMQ address on loopback whose port, and the one after it for replay, nobody uses right now."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return f"tcp://127.0.0.1:{port}"


def write_config(folder: Path, cameras: Mapping[str, Any], **sections: Any) -> tuple[Path, str]:
    """A configuration with its own port and state folder: its path and the publisher's address."""
    address = free_address()
    settings = {
        "cameras": {name: each if isinstance(each, dict) else {"source": each} for name, each in cameras.items()},
        "publish": {"bind": address, **sections.pop("publish", {})},
        "state": {"folder": str(folder / "state"), **sections.pop("state", {})},
        "metrics": {"bind": "off", **sections.pop("metrics", {})},
        **sections,
    }
    path = folder / "vidpipe.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path, address


@contextmanager
def running(
    folder: Path, config: Path, address: str, *, program: Sequence[str] = VIDPIPE, more: Mapping[str, str] | None = None
) -> Iterator[Rig]:
    """`vidpipe run` on a configuration until the context ends."""
    own = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "xdg"), "OMP_NUM_THREADS": "1"}
    with (folder / "stdout").open("ab") as out, (folder / "stderr").open("ab") as err:
        child = subprocess.Popen(
            [*program, "run", "--config", str(config)],
            stdout=out,
            stderr=err,
            env={**os.environ, MEASURED: "1", **own, **(more or {})},
        )
    rig = Rig(folder, config, address, child)
    try:
        yield rig
    finally:
        if rig.alive:
            rig.stop()


def lives(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended and was not waited for does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
