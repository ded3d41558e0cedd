"""R2: the camera closes the connection, or resets it."""

from __future__ import annotations

import time
from collections.abc import Callable

from faults.bench import Bench, Stage
from faults.verdict import Case, Checks, Finding
from pipeline.fakecam import faults


def run(bench: Bench) -> Finding:
    """Close, then reset, a stream that has been healthy for a while."""
    checks = Checks()
    with bench.stage(1) as stage:
        camera = stage.cameras[0]
        _measure(stage, checks, "FIN", camera.disconnect_all)
        stage.ear.listen(11.0)  # healthy again, so that the back-off starts anew
        _measure(stage, checks, "RST", lambda: camera.inject(faults.Reset()))
        checks.equal("messages lost", stage.ear.missed, 0)
        checks.equal("statuses out of balance", stage.ear.unbalanced(), 0)
    return checks.finding()


def _measure(stage: Stage, checks: Checks, name: str, hurt: Callable[[], object]) -> None:
    hurt()
    hurt_s = time.monotonic()
    lost = stage.ear.status("cam0", "backoff", 10.0, since_s=hurt_s - 0.05)
    stage.cameras[0].clear()
    back = stage.ear.status("cam0", "running", 15.0, since_s=lost.published_s if lost else hurt_s)
    checks.at_most(f"{name}: detected after", lost.published_s - hurt_s if lost else None, 0.5)
    checks.at_most(f"{name}: frames again after", back.published_s - hurt_s if back else None, 3.0)


CASE = Case("R2", "FIN, RST", "detected within 0.5 s; frames within 3 s, at the first retry", run)
