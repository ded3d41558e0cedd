"""Reading cameras in a test the way the inference loop does, without a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import barcode
import numpy as np

from pipeline.capture.fleet import Fleet
from pipeline.capture.ring import FrameHeader
from pipeline.capture.supervisor import CameraState, CapturePlan
from pipeline.config.source import parse_source

EVERY_FRAME_HZ = 1000.0
HEIGHT, WIDTH = 96, 128


@dataclass
class Log:
    """What one camera gave: numbered frames with their headers, and the states it went through."""

    numbers: list[int] = field(default_factory=list)
    headers: list[FrameHeader] = field(default_factory=list)
    states: list[tuple[CameraState, str]] = field(default_factory=list)


def plan(name: str, source: str | int, rate_hz: float = EVERY_FRAME_HZ, **options) -> CapturePlan:
    """A plan for a small picture; by default every frame is due."""
    settings = {"stall_s": 1.0, "open_timeout_s": 3.0, "slots": 64, **options}
    return CapturePlan(name, parse_source(source), HEIGHT, WIDTH, rate_hz, **settings)


def read(fleet: Fleet, until: Callable[[dict[str, Log]], bool], limit_s: float = 30.0) -> dict[str, Log]:
    """Take all frames of all cameras until the condition holds; fails when it does not in time."""
    logs = {name: Log() for name in fleet.cameras}
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    deadline_s = time.monotonic() + limit_s
    while not until(logs):
        assert time.monotonic() < deadline_s, {n: (len(log.numbers), log.states[-3:]) for n, log in logs.items()}
        fleet.wait(0.05)
        for name, camera in fleet.cameras.items():
            log = logs[name]
            if not log.states or log.states[-1] != (camera.state, camera.detail):
                log.states.append((camera.state, camera.detail))
            while (header := camera.ring.peek()) is not None:
                camera.ring.take(picture)
                camera.free_slot()
                log.headers.append(header)
                log.numbers.append(barcode.read(picture))
    return logs


def capture_files(*plans: CapturePlan) -> dict[str, Log]:
    """Read files to their ends."""
    with Fleet(plans) as fleet:
        return read(fleet, lambda _: fleet.over and not any(c.ring.backlog for c in fleet.cameras.values()))
