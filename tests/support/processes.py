"""The command line as a user runs it, in a process of its own."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

VIDPIPE = str(Path(sys.executable).with_name("vidpipe"))


def free_port() -> int:
    """A TCP port that nobody uses right now.

    The system gives it to nobody else meanwhile: what it gives to those who name no port, as to each connection that is
    made, is of another range.
    """
    given_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(10_000, given_from) if given_from > 12_000 else 0
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])


def write_config(folder: Path, cameras: dict[str, object], **sections: object) -> tuple[Path, str]:
    """A configuration with a free port; its path and the publisher's address."""
    address = f"tcp://127.0.0.1:{free_port()}"
    named = {name: value if isinstance(value, dict) else {"source": str(value)} for name, value in cameras.items()}
    publish = {"bind": address, **sections.pop("publish", {})}  # type: ignore[dict-item]
    path = folder / "vidpipe.yaml"
    path.write_text(yaml.safe_dump({"cameras": named, "publish": publish, **sections}))
    return path, address


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The test's own environment with a home of its own."""
    return {**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder), "XDG_CACHE_HOME": str(folder), **more}


def vidpipe(*arguments: object, folder: Path, timeout_s: float = 100, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [VIDPIPE, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=folder,
        env=environment(folder, **more),
    )


@contextmanager
def running(*arguments: object, folder: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command beside the test; it is interrupted at the end and must leave within 10 s."""
    process = subprocess.Popen(
        [VIDPIPE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder, **more),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
