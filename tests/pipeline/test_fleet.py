"""The fleet of cameras: one that is removed holds up nobody, however long its process takes to go."""

from __future__ import annotations

import time

import psutil

from pipeline.capture.fleet import Fleet
from pipeline.capture.link import Link
from pipeline.capture.supervisor import CameraState, CapturePlan
from pipeline.config.source import parse_source


class StuckProcess:
    """One that the kernel does not let go: no signal ends it."""

    def __init__(self) -> None:
        self.gone = self.closed = False
        self.signals: list[str] = []

    def ask_to_leave(self) -> None:
        self.signals.append("TERM")

    def kill(self) -> None:
        self.signals.append("KILL")

    def is_gone(self) -> bool:
        return self.gone

    def close(self) -> None:
        self.closed = True

    def end(self, _grace_s: float) -> None:
        raise AssertionError("nobody may wait for it in the loop's thread")


def test_a_process_that_does_not_go_holds_up_nobody_and_is_collected_when_it_does(monkeypatch):
    clock_s = [time.monotonic()]
    monkeypatch.setattr("time.monotonic", lambda: clock_s[0])
    with Fleet() as fleet:
        camera = fleet.add(CapturePlan("a", parse_source("scene://"), 4, 4, 8.0))
        stuck = camera.process = StuckProcess()
        fleet.remove("a")
        for _ in range(8):
            clock_s[0] += 0.25
            fleet.wait(0.0)
        assert stuck.signals[:2] == ["TERM", "KILL"]
        assert not stuck.closed
        assert camera.ring.backlog == 0, "the memory stays as long as somebody may write into it"
        stuck.gone = True
        clock_s[0] += 0.6
        fleet.wait(0.0)
        assert stuck.closed
        assert not fleet._leaving


def test_a_camera_that_comes_and_goes_at_once_leaves_nothing_behind():
    with Fleet() as fleet:
        plan = CapturePlan("a", parse_source("scene://"), 4, 4, 8.0)
        for _ in range(3):
            fleet.add(plan)
            fleet.remove("a")
        fleet.wait(0.0)
        assert (fleet.cameras, fleet._leaving, fleet._watched) == ({}, [], {})


def test_a_process_that_is_gone_before_it_has_its_order_leaves_nothing_open(monkeypatch):
    def refuse(_link: Link, _message: bytes) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Link, "send_bytes", refuse)
    me = psutil.Process()
    with Fleet() as fleet:
        camera = fleet.add(CapturePlan("a", parse_source("scene://"), 4, 4, 8.0))
        before = me.num_fds()
        fleet.wait(0.0)
        assert camera.state is CameraState.BACKOFF
        assert me.num_fds() == before
        assert not me.children()
