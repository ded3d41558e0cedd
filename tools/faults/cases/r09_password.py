"""R9: the camera refuses the password."""

from __future__ import annotations

import time

from faults.bench import Bench, Stage
from faults.verdict import Case, Checks, Finding
from pipeline.fakecam.history import Refused
from pipeline.rtsp.auth import Credentials, Guard
from pipeline.stream.messages import encode

_WRONG = "c4nary-Wr0ng-p4ss"
_WATCH_S = 59.0


def run(bench: Bench) -> Finding:
    """Watch for a minute how often a camera with a wrong password is asked, and search everything for the password."""
    checks = Checks()
    guard = Guard(Credentials("cam", "right"), "digest")
    with bench.stage(2, served={"guard": guard}, wait=False, logins=(f"cam:{_WRONG}", "cam:right")) as stage:
        refused = stage.ear.status("cam0", "auth_failed", 30.0)
        checks.that("auth_failed", met=refused is not None)
        shown = _process_lists(stage)
        stage.ear.listen(_WATCH_S)
        tries = [event for event in stage.cameras[0].history if isinstance(event, Refused) and event.wrong]
        span_s = time.monotonic() - tries[0].time_s if tries else 0.0
        checks.equal(f"wrong passwords sent in the first {span_s:.0f} s", len(tries), 1)
        shown += _process_lists(stage)
        shown += [repr(heard.message) + encode(heard.message, "json").decode() for heard in stage.ear.heard]
        shown += [stage.rig.errors, (stage.rig.folder / "stdout").read_text()]
        shown += [
            path.read_text(errors="replace") for path in (stage.rig.folder / "state").rglob("*") if path.is_file()
        ]
        found = sum(_WRONG in text for text in shown)
        checks.equal(f"places with the password, of {len(shown)} searched", found, 0)
        checks.that("the other camera runs", met=stage.ear.last("cam1").state == "running")
    return checks.finding()


def _process_lists(stage: Stage) -> list[str]:
    return [" ".join(process.cmdline()) for process in (stage.rig.process, *stage.rig.captures())]


CASE = Case(
    "R9",
    "wrong password",
    "auth_failed after one attempt, at most one a minute; the password nowhere in output, messages or process list",
    run,
    quiet=True,
)
