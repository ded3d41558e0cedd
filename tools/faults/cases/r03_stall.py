"""R3: no packet comes any more, and the connection stays."""

from __future__ import annotations

import time

from faults.bench import Bench, Stage
from faults.verdict import Case, Checks, Finding
from pipeline.fakecam import faults

_DECODED_S = 0.2  # what was sent last may still be on its way through socket and decoder


def run(bench: Bench) -> Finding:
    """Pause for a second, then for longer than the limit, and see what reaches the model meanwhile; then only drip."""
    checks = Checks()
    with bench.stage(1, quick=True, watched=True) as stage:
        stage.ear.listen(2.0)
        camera, before = stage.cameras[0], stage.ear.last("cam0").counts.connections
        begun_s = time.monotonic()
        camera.inject(faults.Stall(), for_s=1.0)
        stage.ear.listen(3.0)
        checks.equal("reconnects for a pause of 1 s", stage.ear.last("cam0").counts.connections - before, 0)
        checks.equal("stale frames at the model in it", _stale(stage, begun_s, begun_s + 1.0), 0)
        plays = camera.counters.plays
        camera.inject(faults.Stall())
        begun_s = time.monotonic()
        lost = stage.ear.status("cam0", "backoff", 10.0, since_s=begun_s)
        checks.at_most("stall detected after", lost.published_s - begun_s if lost else None, 2.5)
        camera.clear()
        ended_s = time.monotonic()
        back = stage.ear.status("cam0", "running", 15.0, since_s=ended_s)
        checks.at_most("running again after its end", back.published_s - ended_s if back else None, 5.0)
        checks.equal("stale frames at the model during the stall", _stale(stage, begun_s, ended_s), 0)
        checks.that(f"{camera.counters.plays - plays} new connection", met=camera.counters.plays > plays)
        stage.ear.listen(3.0)
        camera.inject(faults.Drip(0.3))
        begun_s = time.monotonic()
        lost = stage.ear.status("cam0", "backoff", 15.0, since_s=begun_s)
        checks.at_most("one byte each 0.3 s detected after", lost.published_s - begun_s if lost else None, 2.5)
        checks.equal("statuses out of balance", stage.ear.unbalanced(), 0)
    return checks.finding()


def _stale(stage: Stage, begun_s: float, ended_s: float) -> int:
    """Frames that the model got while the camera had sent nothing."""
    return sum(begun_s + _DECODED_S < frame.handed_s < ended_s for frame in stage.frames("cam0", begun_s))


CASE = Case(
    "R3",
    "stall, socket open",
    "detected within 2.5 s, also where bytes still drip in; no stale frame reaches the model; opened anew",
    run,
)
