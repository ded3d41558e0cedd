"""R16: the configuration changes while vidpipe runs."""

from __future__ import annotations

import signal
import time

import numpy as np
import yaml

from faults.bench import SOURCE_HZ, Bench, Stage, busy
from faults.pauses import Pauses
from faults.verdict import Case, Checks, Finding

_SAME = ("cam0", "cam1", "cam2")


def run(bench: Bench) -> Finding:
    """Change one of four cameras, then ask for a file that is wrong."""
    checks = Checks()
    with (
        bench.stage(4, quick=True, watched=True, reload_on_change=False) as stage,
        Pauses(stage.rig.child.pid) as pauses,
    ):
        stage.ear.listen(5.0)
        before = _facts(stage)
        begun_s = time.monotonic()
        settings = yaml.safe_load(stage.rig.config.read_text())
        settings["cameras"]["cam3"]["crop"] = {"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5}
        stage.rig.config.write_text(yaml.safe_dump(settings))
        stage.rig.process.send_signal(signal.SIGHUP)
        changed = stage.ear.status("cam3", "running", 15.0, since_s=begun_s + 0.3)
        stage.ear.listen(5.0)
        checks.that("the changed camera runs anew", met=changed is not None and _restarted(stage, begun_s))
        _unchanged(stage, checks, before, begun_s, "reload", excuse=busy(pauses))
        begun_s, before = time.monotonic(), _facts(stage)
        stage.rig.config.write_text("cameras: {cam0: {source: 'ftp://nowhere'}}")
        stage.rig.process.send_signal(signal.SIGHUP)
        stage.ear.listen(5.0)
        _unchanged(stage, checks, before, begun_s, "bad file", excuse=busy(pauses))
        refused = "everything runs on as it was" in stage.rig.errors
        checks.that(f"the refusal {'stands' if refused else 'does not stand'} in the log", met=refused)
        checks.equal("messages lost", stage.ear.missed, 0)
    return checks.finding()


def _facts(stage: Stage) -> dict[str, tuple[str, int]]:
    return {name: (stage.ear.last(name).session, stage.ear.last(name).counts.connections) for name in _SAME}


def _restarted(stage: Stage, since_s: float) -> bool:
    return any(status.state != "running" for _, status in stage.ear.statuses("cam3", since_s))


def _unchanged(
    stage: Stage, checks: Checks, before: dict[str, tuple[str, int]], since_s: float, what: str, *, excuse: str
) -> None:
    gaps = [float(np.max(np.diff([f.media_s for f in stage.frames(name, since_s)]))) * SOURCE_HZ for name in _SAME]
    checks.at_most(f"{what}: unchanged cameras' largest gap", max(gaps), 1.5, "frame times", excuse=excuse)
    checks.equal("sessions and connections as before", _facts(stage) == before, expected=True)


CASE = Case(
    "R16",
    "configuration reloaded, good and bad",
    "unchanged cameras lose no frame and keep session and connection; a bad file changes nothing",
    run,
)
