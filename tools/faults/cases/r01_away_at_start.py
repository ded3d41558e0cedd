"""R1: a camera that is not there when vidpipe starts."""

from __future__ import annotations

import re
import time

from faults.bench import Bench, Stage
from faults.verdict import Case, Checks, Finding

_AWAY_S, _ATTEMPTS = 14.0, 5  # 1, 2, 4 and 8 s apart, with jitter: no storm
_OTHERS = ("cam1", "cam2", "cam3")


def run(bench: Bench) -> Finding:
    """Start once with all four cameras and once without the first, then let it come."""
    with bench.stage(4) as stage:
        normal_s = _first_clips(stage)
    checks = Checks()
    with bench.stage(4, prepare=lambda cameras: cameras[0].stop(), wait=False) as stage:
        stage.names = list(_OTHERS)
        stage.wait_for_all()
        late_s = _first_clips(stage) - normal_s
        checks.at_most("others' first clip later than normal by", late_s, 1.0)
        backoff = stage.ear.status("cam0", "backoff", 10.0)
        checks.that("the camera in state backoff meanwhile", met=backoff is not None)
        stage.ear.listen(max(0.0, stage.started_s + _AWAY_S - time.monotonic()))
        attempts = stage.ear.last("cam0").counts.connections
        checks.at_most(f"connection attempts in {_AWAY_S:.0f} s", attempts, _ATTEMPTS, "")
        announced = re.search(r"again in (\d+) s", stage.ear.last("cam0").detail)
        wait_s = float(announced[1]) if announced else 30.0
        stage.cameras[0].start()
        returned_s = time.monotonic()
        running = stage.ear.status("cam0", "running", wait_s + 10.0, since_s=returned_s)
        joined_s = running.published_s - returned_s if running else None
        checks.at_most(f"camera running after its return (back-off was {wait_s:.0f} s)", joined_s, wait_s + 3.0)
        checks.equal("messages lost", stage.ear.missed, 0)
    return checks.finding()


def _first_clips(stage: Stage) -> float:
    """Seconds from the start to the last of the others' first clips."""
    firsts = [stage.ear.clip(name, 0.0) for name in _OTHERS]
    return max(first.published_s for first in firsts if first is not None) - stage.started_s


CASE = Case(
    "R1",
    "camera down at start",
    "others publish within 1 s of their normal time; few attempts; "
    "the camera joins within back-off + 3 s after it returns",
    run,
)
