"""A real `vidpipe run` as a service manager, Prometheus, a log collector and an operator see it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
import yaml
from processes import free_port, running, vidpipe, write_config
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from pipeline.cli.commands import app
from pipeline.config.load import load_config
from pipeline.operations.instance import instance_of
from pipeline.operations.monitor import Monitor

SECRET = "Kanari-Vogel-7"
CAMERAS = {"a": "scene://?seed=1", "b": "scene://?seed=2", "dead": f"rtsp://u:{SECRET}@127.0.0.1:9/x"}
STATE = "vidpipe_stream_state"
Page = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Manager:
    """A service manager's end of the notify protocol: what was said, with a wait for what is still to come."""

    def __init__(self, place: Path) -> None:
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._link.bind(str(place))
        self._link.settimeout(30)
        self.said: list[str] = []

    def wait_for(self, start: str) -> str:
        """The next datagram that begins like this."""
        while True:
            self.said.append(self._link.recv(4096).decode())
            if self.said[-1].startswith(start):
                return self.said[-1]

    def close(self) -> None:
        self._link.close()


class Text:
    """A process's output, read while it runs."""

    def __init__(self, stream: Iterator[str]) -> None:
        self._lines: list[str] = []
        self._thread = threading.Thread(target=lambda: self._lines.extend(stream), daemon=True)
        self._thread.start()

    def rest(self) -> str:
        self._thread.join(10)
        return "".join(self._lines)


def ask(port: int, path: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def metrics(port: int) -> Page:
    code, text = ask(port, "/metrics")
    assert code == 200
    assert SECRET not in text
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(page: Page, name: str, **labels: str) -> float:
    return page.get((name, frozenset(labels.items())), 0.0)


def wait_for_page(port: int, wanted: Callable[[Page], bool], limit_s: float = 30.0) -> Page:
    """A page on which the condition holds; each look waits for the server, which answers at once."""
    deadline_s = time.monotonic() + limit_s
    while not wanted(page := metrics(port)):
        assert time.monotonic() < deadline_s, page
        threading.Event().wait(0.1)
    return page


def missing(page: Page, stream: str) -> float:
    """Due frames that are neither processed, nor dropped, nor in flight."""
    results = ("processed", "dropped_overload", "dropped_overrun")
    known = sum(value(page, "vidpipe_frames_total", stream=stream, result=result) for result in results)
    in_flight = value(page, "vidpipe_frames_in_flight", stream=stream)
    return value(page, "vidpipe_frames_due_total", stream=stream) - known - in_flight


@contextmanager
def service(folder: Path) -> Iterator[tuple[object, Manager, int, Path]]:
    """`vidpipe run` under a service manager of ours."""
    port = free_port()
    config, _ = write_config(folder, CAMERAS, metrics={"bind": f"127.0.0.1:{port}"}, log={"level": "info"})
    manager = Manager(folder / "notify")
    told = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "30000000"}
    arguments = ("run", "--config", config, "--quiet", "--log-format", "json")
    with closing(manager), running(*arguments, folder=folder, **told) as process:
        yield process, manager, port, config


def test_the_life_of_a_service(tmp_path):
    with service(tmp_path) as (process, manager, port, config):
        manager.wait_for("READY=1")
        assert not [text for text in manager.said if "WATCHDOG" in text], "the watchdog is fed by the loop"
        assert ask(port, "/readyz") == (200, "ready\n")
        manager.wait_for("STATUS=2 running, 1 ")
        page = wait_for_page(port, lambda p: value(p, "vidpipe_frames_total", stream="a", result="processed") > 2)
        for stream in CAMERAS:
            assert missing(page, stream) == 0
        states = [state for state in ("backoff", "connecting") if value(page, STATE, stream="dead", state=state)]
        assert len(states) == 1, "it is tried again and again"
        assert ask(port, "/healthz") == (200, "ready\n"), "a dead camera is no reason to restart vidpipe"

        values = yaml.safe_load(config.read_text())
        del values["cameras"]["b"]
        config.write_text(yaml.safe_dump(values))
        process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        page = metrics(port)
        assert value(page, "vidpipe_reloads_total", result="ok") == 1
        assert not [labels for _, labels in page if ("stream", "b") in labels]

        family = psutil.Process(process.pid).children(recursive=True)
        log, out = Text(process.stderr), Text(process.stdout)
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert process.wait(10) == 0, "a service that was told to end has ended well, though a camera never came"
        assert time.monotonic() - began_s < 5
    assert not psutil.wait_procs(family, timeout=5)[1]
    said = log.rest()
    assert SECRET not in said + "".join(manager.said)
    assert out.rest() == "", "a service prints nothing but its log"
    entries = [json.loads(line) for line in said.splitlines()]
    assert {entry["level"] for entry in entries} >= {"info", "warning"}
    refused = next(entry for entry in entries if entry.get("state") == "backoff")
    assert (refused["stream"], refused["level"]) == ("dead", "warning")
    assert refused["epoch"] > 0
    assert any(entry.get("stream") == "a" and entry.get("state") == "running" for entry in entries)


def test_health_says_no_where_nobody_answers(tmp_path):
    port = free_port()
    result = vidpipe("health", "--address", f"127.0.0.1:{port}", folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"vidpipe: no vidpipe answers at 127.0.0.1:{port} (")


def test_health_knows_whose_answer_it_gets(tmp_path):
    port = free_port()
    configs = {}
    for name, bind in {"own": "127.0.0.1:7777", "other": "127.0.0.1:7778", "any port": "127.0.0.1:*"}.items():
        configs[name] = tmp_path / f"{name}.yaml"
        values = {"cameras": {"a": {"source": "scene://"}}, "publish": {"bind": f"tcp://{bind}"}}
        configs[name].write_text(yaml.safe_dump(values | {"metrics": {"bind": f"127.0.0.1:{port}"}}))
    said = {}
    with Monitor(f"127.0.0.1:{port}", instance=instance_of(load_config(configs["own"]))) as monitor:
        monitor.ready()
        for name, config in configs.items():
            result = CliRunner().invoke(app, ["health", "--config", str(config)])
            said[name] = result.output or str(result.exception)
    assert said["own"] == said["any port"] == "ready\n"
    assert said["other"].startswith(f"another vidpipe answers at 127.0.0.1:{port}: ")


def test_health_is_not_asked_of_something_else():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        result = CliRunner().invoke(app, ["health", "--address", f"127.0.0.1:{server.server_port}"])
        thread.join()
    assert "is no vidpipe" in str(result.exception)


@pytest.mark.slow
def test_an_operator_asks_for_health_and_figures(tmp_path):
    with service(tmp_path) as (_, manager, port, config):
        for arguments in (("--config", config), ("--alive", "--address", f"127.0.0.1:{port}")):
            manager.wait_for("WATCHDOG=1")
            result = vidpipe("health", *arguments, folder=tmp_path)
            assert (result.returncode, result.stdout) == (0, "ready\n")
        result = vidpipe("top", "--config", config, "--once", "--json", folder=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        report = json.loads(result.stdout)
        states = {row["camera"]: row["state"] for row in report["cameras"]}
        assert set(states) == set(CAMERAS)
        assert states["a"] == "running"
        lines = vidpipe("top", "a", "--config", config, "--once", folder=tmp_path).stdout.splitlines()
        assert [line.split()[:2] for line in lines] == [["a", "running"]]
        assert SECRET not in result.stdout


@pytest.mark.slow
def test_top_without_a_publisher_says_so(tmp_path):
    address = f"tcp://127.0.0.1:{free_port()}"
    result = vidpipe("top", "--address", address, "--once", "--timeout", 0.5, folder=tmp_path)
    assert result.returncode == 1
    asked = "is vidpipe run running there, and does it let you in (--keys)?"
    assert result.stderr == f"vidpipe: nothing came from {address} within 0.5 s: {asked}\n"
