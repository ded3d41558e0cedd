"""R5: pictures that are damaged or lost on the way."""

from __future__ import annotations

import time

from faults.bench import GOP_S, Bench, Stage
from faults.verdict import Case, Checks, Finding
from pipeline.fakecam import faults
from pipeline.stream.messages import Prediction

_UNITS = 10_000
_CAMERAS = 8


def run(bench: Bench) -> Finding:
    """One damaged picture; then a stream of damage to all cameras until there were 10,000; then healing."""
    checks = Checks()
    with bench.stage(_CAMERAS) as stage:
        _one_picture(stage, checks)
        before = _sum(stage, "damaged")
        sent = sum(camera.counters.pictures for camera in stage.cameras)
        for camera in stage.cameras:
            camera.inject(faults.Corrupt(1.0))
        deadline_s = time.monotonic() + 90.0
        while sum(camera.counters.pictures for camera in stage.cameras) - sent < _UNITS:
            stage.ear.listen(0.5)
            if time.monotonic() > deadline_s:
                break
        units = sum(camera.counters.pictures for camera in stage.cameras) - sent
        for camera in stage.cameras:
            camera.clear()
        healed_s = time.monotonic()
        checks.that(f"{units} damaged pictures", met=units >= _UNITS)
        _after(stage, checks, healed_s, before)
    return checks.finding()


def _one_picture(stage: Stage, checks: Checks) -> None:
    connections = _sum(stage, "connections")
    for camera in stage.cameras:
        camera.inject(faults.Corrupt(1.0), for_s=0.04)
    stage.ear.listen(4.0)
    checks.equal("reconnects for one damaged picture of each camera", _sum(stage, "connections") - connections, 0)


def _after(stage: Stage, checks: Checks, healed_s: float, before: int) -> None:
    crashed = sum(stage.ear.last(name).reconnects.get("crashed", 0) for name in stage.names)
    firsts = []
    for name in stage.names:
        clean = stage.ear.wait(
            lambda m, name=name: isinstance(m, Prediction) and m.camera == name and not m.damaged,  # type: ignore[misc]
            30.0,
            since_s=healed_s,
        )
        firsts.append(clean.published_s - healed_s if clean else None)
    errors = _sum(stage, "damaged") - before
    checks.equal("capture processes crashed", crashed, 0)
    checks.that(f"{errors} decode errors counted", met=errors > 0)
    flagged = sum(clip.damaged for _, clip in stage.ear.clips())
    checks.that(f"{flagged} clips marked damaged", met=flagged > 0)
    worst = max((each for each in firsts if each is not None), default=None) if None not in firsts else None
    # the next IDR picture comes within a GOP, then a whole clip of 2 s must be clean, and clips end each second
    checks.at_most("each camera's first clean clip after healing within", worst, GOP_S + 2.0 + 1.0)
    reasons = {key for name in stage.names for key in stage.ear.last(name).reconnects}
    checks.note(f"reconnects meanwhile: {', '.join(sorted(reasons)) or 'none'}")
    checks.equal("messages lost", stage.ear.missed, 0)


def _sum(stage: Stage, name: str) -> int:
    return sum(int(getattr(stage.ear.last(camera).counts, name)) for camera in stage.names)


CASE = Case(
    "R5",
    "damaged and lost packets",
    "no crash in 10,000 damaged pictures; no reconnect for one; decode errors counted; clean at the next IDR picture",
    run,
)
