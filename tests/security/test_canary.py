"""A password driven through everything that goes wrong appears nowhere (S1)."""

from __future__ import annotations

import base64
import os
import resource
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import yaml
from numbered import numbered_media
from processes import environment, free_port, running, vidpipe, write_config
from typer.testing import CliRunner

from engines.errors import ConfigError
from pipeline.cli.commands import app
from pipeline.fakecam import FakeCamera
from pipeline.fakecam.faults import Close
from pipeline.rtsp.auth import Credentials, Guard
from pipeline.stream.messages import Status
from pipeline.stream.subscriber import Subscriber

FROM_ENVIRONMENT = "Canary/7 @b?c#:x"
WRITTEN = "canary-in-the-file"
USER = "warden"


def forms(secret: str) -> set[bytes]:
    """How a password may show: as it is, as a URL has it, as Basic sends it, as a repr or JSON writes it."""
    token = base64.b64encode(f"{USER}:{secret}".encode())
    return {
        secret.encode(),
        quote(secret, safe="").encode(),
        quote(secret).encode(),
        token,
        repr(secret)[1:-1].encode(),
    }


CANARIES = forms(FROM_ENVIRONMENT) | forms(WRITTEN)


def leaks(data: bytes | str) -> list[bytes]:
    """The forms that occur in it, each with what stands round it."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return [raw[max(0, raw.index(form) - 80) :][:200] for form in CANARIES if form in raw]


class Cameras:
    """Two servers, of which one knows the passwords; and a port where nobody listens."""

    def __init__(self) -> None:
        media = {"a": numbered_media()}
        self.knows = FakeCamera(media["a"], guard=Guard(Credentials(USER, FROM_ENVIRONMENT), "basic"))
        self.knows_not = FakeCamera(media["a"], guard=Guard(Credentials(USER, "other"), "digest"))
        self.closed = free_port()

    def __enter__(self) -> Cameras:
        self.knows.start()
        self.knows_not.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.knows.stop()
        self.knows_not.stop()

    def sources(self, capture: str) -> dict[str, object]:
        path = self.knows.url.rpartition("/")[2]
        good, bad = self.knows.url.removeprefix("rtsp://"), self.knows_not.url.removeprefix("rtsp://")
        place = good.rpartition("/")[0]
        urls = {
            "good": f"rtsp://{USER}:${{CAM_PASSWORD}}@{good}",
            "wrong": f"rtsp://{USER}:{WRITTEN}@{bad}",
            "missing": f"rtsp://{USER}:${{CAM_PASSWORD}}@{place}/not-{path}",
            "closed": f"rtsp://{USER}:{WRITTEN}@127.0.0.1:{self.closed}/x?password={WRITTEN}",
            "page": f"http://{USER}:{WRITTEN}@{place}/stream.mjpg?token={WRITTEN}",
        }
        return {name: {"source": url, "capture": capture, "open_timeout_s": 3} for name, url in urls.items()}


@pytest.fixture(scope="module")
def cameras() -> Iterator[Cameras]:
    with Cameras() as both:
        yield both


class Watcher:
    """Everything that a subscriber hears."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self.heard: list[str] = []

    def until(self, condition: Callable[[Status], bool], timeout_s: float = 40.0) -> None:
        end_s = time.monotonic() + timeout_s
        while (left_s := end_s - time.monotonic()) > 0:
            message = self._subscriber.receive(left_s)
            self.heard.append(repr(message))
            if isinstance(message, Status) and condition(message):
                return
        raise AssertionError(f"it never came; the last messages were {self.heard[-6:]}")


def process_list(pid: int) -> Iterator[tuple[str, bytes]]:
    """What others may see of a process and its children, the children's environment included."""
    parent = psutil.Process(pid)
    for process in [parent, *parent.children(recursive=True)]:
        folder = Path(f"/proc/{process.pid}")
        for name in ("cmdline", "limits", "comm", *(("environ",) if process != parent else ())):
            try:
                yield f"{name} of {process.pid}", (folder / name).read_bytes()
            except OSError:
                continue  # it has ended, or hides it, which is better still


@pytest.fixture
def core_dumps():
    """A shell that lets processes dump their cores."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def core_limits(pid: int) -> set[str]:
    lines = b"\n".join(text for name, text in process_list(pid) if name.startswith("limits")).decode().splitlines()
    return {line.split()[4] for line in lines if line.startswith("Max core file size")}


def pages(port: int) -> Iterator[str]:
    for name in ("metrics", "healthz", "readyz", "nothing"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
                yield answer.read().decode()
        except urllib.error.HTTPError as error:
            yield error.read().decode()


def read_until(process: subprocess.Popen[str], text: bytes, timeout_s: float = 30.0) -> bytes:
    """What the process writes to stderr, until this text is in it."""
    assert process.stderr is not None
    data = b""
    while text not in data:
        ready, _, _ = select.select([process.stderr], [], [], timeout_s)
        assert ready, f"it never said {text!r}, only {data[-500:]!r}"
        data += os.read(process.stderr.fileno(), 1 << 16)
    return data


BROKEN = [
    f"cameras:\n  good:\n    source: rtsp://{USER}:{WRITTEN}@h/x\n    sorce: rtsp://{USER}:{WRITTEN}@h/x\n",
    f"cameras:\n  good:\n    source: rtsp://{USER}:{WRITTEN}@h/x\n    fps: ${{CAM_PASSWORD}}\n    crop: rtsp://u:{WRITTEN}@h\n",
    f"cameras:\n  good: {{source: 'gopher://{USER}:{WRITTEN}@h/x'}}\n  b: {{source: 'rtsp://{USER}:{WRITTEN}@'}}\n",
    f"cameras:\n  good: {{source: rtsp://{USER}:{WRITTEN}@h/x, : ]\n",
]


@pytest.mark.parametrize(
    ("capture", "log"),
    [
        ("opencv", "json"),
        pytest.param("opencv", "text", marks=pytest.mark.slow),
        pytest.param("pyav", "json", marks=pytest.mark.slow),
        pytest.param("pyav", "text", marks=pytest.mark.slow),
    ],
)
def test_a_password_appears_nowhere_whatever_goes_wrong(cameras, core_dumps, tmp_path, capture, log):
    metrics = free_port()
    sections = {"metrics": {"bind": f"127.0.0.1:{metrics}"}, "log": {"format": log, "level": "debug"}}
    path, address = write_config(tmp_path, cameras.sources(capture), **sections)
    seen: dict[str, bytes | str] = {}
    secret = {"CAM_PASSWORD": FROM_ENVIRONMENT, "OPENCV_LOG_LEVEL": "DEBUG"}
    with running("run", "--json", folder=tmp_path, **secret) as process:
        with Subscriber(address, kinds=["status", "clip", "event"]) as subscriber:
            watcher = Watcher(subscriber)
            waiting = {
                "good": "running",
                "wrong": "auth_failed",
                "missing": "backoff",
                "closed": "backoff",
                "page": "backoff",
            }

            def settled(status: Status) -> bool:
                if waiting.get(status.camera) == status.state:
                    del waiting[status.camera]
                return not waiting

            watcher.until(settled)
            seen |= dict(process_list(process.pid))
            assert core_limits(process.pid) == {"0"}
            for child in psutil.Process(process.pid).children():
                child.send_signal(signal.SIGSEGV)
            watcher.until(lambda status: status.camera == "good" and "SIGSEGV" in status.detail)
            watcher.until(lambda status: status.camera == "good" and status.state == "running")
            cameras.knows.inject(Close())
            watcher.until(lambda status: status.camera == "good" and status.state != "running")
            good, told_so_far = path.read_text(), b""
            for number, text in enumerate(BROKEN):
                path.write_text(text)
                told = CliRunner().invoke(app, ["reload", "--config", str(path)], env=environment(tmp_path, **secret))
                seen[f"reload {number}"] = f"{told.output} {told.exception}"
                assert isinstance(told.exception, ConfigError)
                process.send_signal(signal.SIGHUP)
                told_so_far += read_until(process, b"is not taken over")
            path.write_text(good)
            seen["pages"] = "\n".join(pages(metrics))
            process.send_signal(signal.SIGTERM)
            seen["stdout"], rest = process.communicate(timeout=20)
            seen["stderr"] = told_so_far + rest.encode()
        seen["messages"] = "\n".join(watcher.heard)
    for file in tmp_path.rglob("*"):
        if file.is_file() and file != path:
            seen[str(file)] = file.read_bytes()
    assert "vidpipe_subscribers" in str(seen["pages"])
    assert "good" in str(seen["stderr"])
    assert {name: found for name, data in seen.items() if (found := leaks(data))} == {}


def test_commands_that_fail_show_no_password(cameras, tmp_path):
    """`check` meets every camera; a broken file stops `run` before anything starts."""
    path, _ = write_config(tmp_path, cameras.sources("opencv"))
    results = [vidpipe("check", "--config", path, folder=tmp_path, CAM_PASSWORD=FROM_ENVIRONMENT)]
    path.write_text(yaml.safe_dump({"cameras": cameras.sources("opencv")}))
    results.append(vidpipe("run", "--config", path, folder=tmp_path))  # the variable is not set
    assert [result.returncode for result in results] == [1] * len(results)
    assert [found for result in results if (found := leaks(result.stdout + result.stderr))] == []


def test_the_search_finds_what_it_is_to_find():
    for secret in (FROM_ENVIRONMENT, WRITTEN):
        for form in forms(secret):
            assert leaks(b"some text " + form + b" more")
    assert leaks(f"rtsp://{USER}:{quote(FROM_ENVIRONMENT, safe='')}@h/")
    assert not leaks("rtsp://***@h/")
