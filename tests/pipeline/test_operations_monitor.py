"""The monitor as others see it: pages over HTTP, lines in the log, datagrams to the service manager."""

from __future__ import annotations

import http.client
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from socketserver import ThreadingMixIn
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operations_messages import event, full_load, prediction, status

from engines.errors import StreamError
from pipeline.operations.endpoint import DEFAULT_BIND, Endpoint, Page, split_address
from pipeline.operations.metrics import Gauges
from pipeline.operations.monitor import Monitor
from pipeline.operations.notify import ServiceManager
from pipeline.operations.pulse import SILENCE_S, Phase, Pulse
from pipeline.stream.messages import Counts

ANY = "127.0.0.1:0"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def served() -> Iterator[Monitor]:
    with Monitor(ANY) as monitor:
        yield monitor


def ask(address: str | None, path: str, method: str = "GET") -> tuple[int, str]:
    assert address is not None
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@contextmanager
def listening(place: str) -> Iterator[socket.socket]:
    """A service manager's end of the notify protocol."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind("\0" + place[1:] if place.startswith("@") else place)
        link.settimeout(5)
        yield link


def heard(link: socket.socket) -> list[str]:
    """All datagrams that came."""
    link.setblocking(False)
    said = []
    while True:
        try:
            said.append(link.recv(4096).decode())
        except BlockingIOError:
            return said


def test_from_start_to_end_health_and_readiness_follow_the_loop():
    clock = Clock()
    monitor = Monitor(ANY, clock=clock)
    with monitor:
        assert ask(monitor.address, "/healthz") == (200, "starting\n")
        clock.now_s += 1000  # models may take long to load
        assert ask(monitor.address, "/healthz")[0] == 200
        assert ask(monitor.address, "/readyz") == (503, "starting\n")
        monitor.ready()
        assert ask(monitor.address, "/readyz") == (200, "ready\n")
        for _ in range(100):
            clock.now_s += 1
            monitor.beat()
        monitor.observe(status("a", state="failed", detail="gone for ever"))
        assert ask(monitor.address, "/healthz") == (200, "ready\n"), "a dead camera is no reason to restart vidpipe"
        assert ask(monitor.address, "/readyz") == (200, "ready\n")
        clock.now_s += SILENCE_S + 1
        assert ask(monitor.address, "/healthz") == (503, "the inference loop has stood still for 11 s\n")
        assert ask(monitor.address, "/readyz")[0] == 503
        monitor.beat()
        assert ask(monitor.address, "/healthz")[0] == 200
        monitor.stopping()
        assert ask(monitor.address, "/readyz") == (503, "stopping\n")
        assert ask(monitor.address, "/healthz") == (200, "stopping\n")
        address = monitor.address
    assert monitor.address is None
    with pytest.raises(ConnectionRefusedError):
        ask(address, "/healthz")


def test_only_these_pages_and_only_for_reading():
    with Monitor(ANY) as monitor:
        monitor.observe(prediction("a"))
        code, page = ask(monitor.address, "/metrics?format=x")
        assert code == 200
        assert 'vidpipe_model_info{backend="openvino",model="scene",precision="f32",stream="a",version="1.0.0"}' in page
        assert ask(monitor.address, "/metrics", "HEAD") == (200, "")
        for path in ("/", "/metrics/", "/../etc/passwd", "/healthz/x", "/METRICS"):
            assert ask(monitor.address, path) == (404, "not found\n")
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert ask(monitor.address, "/metrics", method)[0] == 501


def test_the_default_address_is_left_alone_where_it_is_taken_and_a_named_one_is_an_error(caplog):
    caplog.set_level(logging.INFO)
    with Endpoint(ANY, {}) as other:
        with pytest.raises(StreamError, match=r"metrics.bind 127.0.0.1:\d+ cannot be bound \(Address already in use\)"):
            Monitor(other.address).__enter__()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipeline.operations.monitor.DEFAULT_BIND", other.address)
            with Monitor() as monitor:
                assert monitor.address is None
                monitor.ready()
                monitor.beat()
    assert [r.levelname for r in caplog.records if "no endpoint for metrics" in r.message] == ["INFO"]
    assert DEFAULT_BIND == "127.0.0.1:9108"


def test_off_means_off():
    with Monitor("off") as monitor:
        assert monitor.address is None


@pytest.mark.parametrize("bind", ["127.0.0.1:70000", "127.0.0.1:x", "host.invalid:1", "192.0.2.1:9108"])
def test_what_is_no_address_here_ends_in_a_sentence(bind):
    with pytest.raises(StreamError, match=rf"metrics.bind (is )?{bind}"):
        Monitor(bind).__enter__()


def test_an_open_address_works_and_is_said_to_be_open(caplog):
    with Monitor("0.0.0.0:0"):
        pass
    assert "whoever reaches that address can read the metrics" in caplog.text


def test_ipv6(caplog):
    try:
        monitor = Monitor("[::1]:0").__enter__()
    except StreamError:
        pytest.skip("no IPv6 here")
    with monitor:
        assert ask(monitor.address, "/healthz")[0] == 200
    assert split_address("[::1]:9108") == ("::1", 9108)
    assert not caplog.text


def test_a_client_that_says_nothing_keeps_nobody_from_asking():
    with Monitor(ANY) as monitor:
        host, port = split_address(monitor.address)
        silent = [socket.create_connection((host, port)) for _ in range(5)]
        assert ask(monitor.address, "/healthz")[0] == 200
        for each in silent:
            each.close()


def test_of_too_many_at_once_the_oldest_is_hung_up_on():
    with Monitor(ANY) as monitor:
        host, port = split_address(monitor.address)
        crowd = [socket.create_connection((host, port), timeout=10) for _ in range(9)]
        assert crowd[0].recv(1) == b""
        for _ in range(20):
            assert ask(monitor.address, "/healthz")[0] == 200, "whoever says nothing keeps nobody from asking"
        for each in crowd:
            each.close()


@given(st.lists(st.binary(max_size=200), max_size=3))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_answered_or_hung_up_on_and_does_not_fill_the_log(served, caplog, pieces):
    with socket.create_connection(split_address(served.address), timeout=10) as client:
        for piece in pieces:
            with suppress(OSError):
                client.sendall(piece)
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
            assert b"Traceback" not in b"".join(iter(lambda: client.recv(65536), b""))
    assert ask(served.address, "/healthz")[0] == 200
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


def test_threads_and_descriptors_that_run_out_cost_a_request_and_no_more(served, monkeypatch, caplog):
    fail = Mock(side_effect=RuntimeError("can't start new thread"))
    for _ in range(20):
        with monkeypatch.context() as patch:
            patch.setattr(ThreadingMixIn, "process_request", fail)
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                ask(served.address, "/healthz")
    assert fail.call_count == 20, "each got its turn: no place was lost"
    assert ask(served.address, "/healthz")[0] == 200


@pytest.mark.slow
def test_a_client_that_drips_is_hung_up_on():
    with Monitor(ANY) as monitor, socket.create_connection(split_address(monitor.address), timeout=0.3) as client:
        until_s = time.monotonic() + 30
        while _is_open(client):
            assert time.monotonic() < until_s


def _is_open(client: socket.socket) -> bool:
    """Send a byte, and see whether the other end is still there."""
    try:
        client.sendall(b"G")
        return client.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def test_a_page_that_fails_is_logged_and_the_next_request_is_served(caplog):
    def broken() -> Page:
        raise ValueError("kaputt")

    with Endpoint(ANY, {"/broken": broken}) as endpoint:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            ask(endpoint.address, "/broken")
        assert ask(endpoint.address, "/") == (404, "not found\n")
    assert "kaputt" in caplog.text


def test_the_service_manager_hears_everything_once(tmp_path):
    place = str(tmp_path / "notify")
    with listening(place) as link:
        manager = ServiceManager({"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "3000000"})
        with Monitor("off", manager=manager) as monitor:
            assert heard(link) == []
            monitor.ready()
            monitor.observe(status("a"))
            monitor.observe(status("b", state="backoff"))
            monitor.observe(status("c"))
            monitor.beat()
            monitor.beat()
            assert heard(link) == ["READY=1", "WATCHDOG=1", "STATUS=2 running, 1 backoff", "WATCHDOG=1"]
            monitor.observe(event("a"))
            monitor.observe(status("b"))
            assert heard(link) == [], "the watchdog is the loop's own"
            before_us = time.monotonic_ns() // 1000
            monitor.reloading()
            (told,) = heard(link)
            words = dict(line.split("=") for line in told.splitlines())
            assert words["RELOADING"] == "1"
            assert before_us <= int(words["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            monitor.reloaded(ok=False)
            assert heard(link) == ["READY=1"]
            monitor.stopping()
        assert heard(link) == ["STOPPING=1"]


@pytest.mark.parametrize(
    ("watchdog", "told"),
    [({}, []), ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}, []), ({"WATCHDOG_USEC": "1"}, ["WATCHDOG=1"])],
)
def test_the_watchdog_is_fed_only_where_it_waits_for_this_process(watchdog, told):
    with listening("@vidpipe-test-notify") as link:
        ServiceManager({"NOTIFY_SOCKET": "@vidpipe-test-notify", **watchdog}).alive()
        assert heard(link) == told


def test_without_a_service_manager_or_with_one_that_is_gone_nothing_happens(tmp_path):
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        manager = ServiceManager(environment)
        manager.ready()
        manager.status("x")


def test_changes_of_state_are_told_once_with_their_fields(caplog):
    caplog.set_level(logging.INFO)
    with Monitor("off") as monitor:
        for _ in range(3):
            monitor.observe(status("a"))
            monitor.observe(status("b", state="backoff", detail="refused", retry_in_s=1.9))
        monitor.observe(status("a", resets={"start": 1}))
        monitor.observe(status("a", resets={"start": 1, "gap": 1}))
    told = [(r.levelname, r.message, r.__dict__["stream"]) for r in caplog.records]
    assert told == [
        ("INFO", "a: running", "a"),
        ("WARNING", "b: backoff: refused; trying again in 2 s", "b"),
        ("INFO", "a: the memory was reset (gap)", "a"),
    ]
    assert (caplog.records[1].__dict__["state"], caplog.records[1].__dict__["epoch"]) == ("backoff", 7)


def test_an_alarm_is_told_when_it_begins_and_when_it_ends(caplog):
    caplog.set_level(logging.INFO)
    alarms = {"journal": ""}
    with Monitor("off", gauges=lambda: Gauges(alarms=dict(alarms))) as monitor:
        for text in ("", "the disk is full", "the disk is full", "", ""):
            alarms["journal"] = text
            monitor.beat()
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("WARNING", "journal: the disk is full"),
        ("INFO", "journal: all is well again"),
    ]


def test_a_loop_that_goes_round_without_processing_anything_is_not_alive(tmp_path, caplog):
    clock = Clock()
    place = str(tmp_path / "notify")
    waiting = status("a", counts=Counts(due=12, processed=10, in_flight=2))
    dead = status("b", state="backoff", counts=Counts(due=5, processed=5))
    with listening(place) as link:
        manager = ServiceManager({"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "1"})
        with Monitor(ANY, clock=clock, manager=manager) as monitor:
            monitor.ready()
            told = []
            for second in range(32):
                clock.now_s = 100.0 + second
                monitor.observe(waiting)
                monitor.observe(dead)
                monitor.beat()
                told += heard(link)
            assert told.count("WATCHDOG=1") == 31, "fed until frames had waited for 30 s"
            assert ask(monitor.address, "/healthz") == (503, "frames of a wait and are not processed\n")
            assert 'vidpipe_alarm{part="inference"} 1.0' in ask(monitor.address, "/metrics")[1]
            monitor.observe(status("a", counts=Counts(due=12, processed=11, in_flight=1)))
            monitor.beat()
            assert ask(monitor.address, "/healthz")[0] == 200
            assert heard(link).count("WATCHDOG=1") == 1
    assert "inference: frames of a wait" in caplog.text


def test_the_pulse_counts_from_the_moment_it_became_ready():
    clock = Clock()
    pulse = Pulse(clock)
    clock.now_s += 60
    pulse.become(Phase.READY)
    assert pulse.alive().ok
    clock.now_s += SILENCE_S
    assert pulse.alive().ok
    clock.now_s += 0.1
    assert not pulse.alive().ok


def test_a_page_of_45_cameras_is_one_that_prometheus_reads():
    with Monitor(ANY) as monitor:
        for message in full_load(45):
            monitor.observe(message)
        monitor.beat()
        code, page = ask(monitor.address, "/metrics")
    assert code == 200
    assert page.count("vidpipe_frames_due_total{") == 45
