"""R4: the camera answers PLAY and sends nothing."""

from __future__ import annotations

import time

from faults.bench import Bench
from faults.verdict import Case, Checks, Finding
from pipeline.fakecam import faults


def run(bench: Bench) -> Finding:
    """Start on such a camera, wait for two attempts, then let it send."""
    checks = Checks()
    with bench.stage(1, wait=False, prepare=lambda cameras: cameras[0].inject(faults.NoPackets())) as stage:
        first = stage.ear.status("cam0", "backoff", 40.0)
        checks.that("backoff reached", met=first is not None)
        second = stage.ear.status("cam0", "waiting_first_frame", 40.0, since_s=first.published_s if first else 0.0)
        if second is not None:
            stage.ear.status("cam0", "backoff", 40.0, since_s=second.published_s)
        states = stage.ear.states("cam0")
        checks.that(f"states {' > '.join(states)}", met="waiting_first_frame" in states and "running" not in states)
        stage.cameras[0].clear()
        sends_s = time.monotonic()
        back = stage.ear.status("cam0", "running", 20.0, since_s=sends_s)
        checks.at_most("running after it sends", back.published_s - sends_s if back else None, 10.0)
    return checks.finding()


CASE = Case("R4", "connects, no packet", "waiting_first_frame, then backoff; never running", run)
