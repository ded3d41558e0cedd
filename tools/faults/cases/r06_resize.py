"""R6: the picture size changes on a running connection."""

from __future__ import annotations

import time

from faults.bench import Bench, Stage
from faults.verdict import Case, Checks, Finding
from pipeline.fakecam import faults
from pipeline.stream.messages import Status

_LIMITS_S = {"cam0": 60.0, "cam1": 1.5}
_NAMES = {"cam0": "OpenCV", "cam1": "PyAV"}


def run(bench: Bench) -> Finding:
    """Both back ends on cameras that go from 640x360 to 320x240 and back."""
    checks = Checks()
    with bench.stage(2, each=[{"capture": "opencv"}, {"capture": "pyav"}]) as stage:
        for name, camera in zip(stage.names, stage.cameras, strict=True):
            begun_s = time.monotonic()
            camera.inject(faults.Resize(320, 240))
            checks.at_most(f"{_NAMES[name]}: reset after", _reset(stage, name, 1, begun_s), _LIMITS_S[name])
            ended_s = time.monotonic()
            camera.clear()
            checks.at_most("and back after", _reset(stage, name, 2, ended_s), _LIMITS_S[name])
            after = stage.ear.clip(name, 15.0, since_s=time.monotonic())
            checks.that("predictions go on", met=after is not None)
        checks.that("vidpipe runs on", met=stage.rig.alive)
        checks.equal("statuses out of balance", stage.ear.unbalanced(), 0)
    return checks.finding()


def _reset(stage: Stage, name: str, count: int, since_s: float) -> float | None:
    found = stage.ear.wait(
        lambda m: isinstance(m, Status) and m.camera == name and m.resets.get("resolution_change", 0) >= count,
        _LIMITS_S[name] + 5.0,
        since_s=since_s,
    )
    return found.published_s - since_s if found else None


CASE = Case(
    "R6",
    "picture size changes",
    "no crash, the model's input keeps its shape; state reset within 60 s with OpenCV, at once (seen in the next "
    "heartbeat, 1.5 s) with PyAV",
    run,
)
