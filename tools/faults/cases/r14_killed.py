"""R14: vidpipe is killed at any instant."""

from __future__ import annotations

import random
import statistics
import time
from contextlib import ExitStack

from engines.errors import ModelError
from faults.bench import Bench, Stage
from faults.rig import Rig, running
from faults.verdict import Case, Checks, Finding
from pipeline.durability.clocks import elapsed_s, read_clocks
from pipeline.durability.format import decode_checkpoint

_KILLS = 12
_MAX_GAP_S = 20.0  # starting anew takes longer than the 2 s by default


def run(bench: Bench) -> Finding:
    """Kill -9 at random moments, look at the checkpoints, start again, and see whether the session goes on."""
    checks, rng = Checks(), random.Random(bench.seed)
    with bench.stage(2, camera={"continuity": {"max_gap_s": _MAX_GAP_S}}) as stage, ExitStack() as stack:
        stage.ear.listen(3.0)
        rig, ages_s, resumed, since_s = stage.rig, [], 0, stage.started_s
        for _ in range(_KILLS):
            stage.ear.listen(rng.uniform(0.5, 2.5))
            sessions = {name: stage.ear.last(name).session for name in stage.names}
            rig.child.kill()
            rig.child.wait()
            killed_s = time.monotonic()
            ages_s += [_unsaved_s(stage, rig, name, since_s, killed_s) for name in stage.names]
            since_s = killed_s
            rig = stack.enter_context(running(rig.folder, rig.config, rig.address))
            resumed += sum(_resumed(stage, name, sessions[name], since_s) for name in stage.names)
        valid = [age for age in ages_s if age is not None]
        checks.equal(f"valid checkpoints after {_KILLS} kills of 2 cameras", len(valid), 2 * _KILLS)
        checks.note(
            f"what is lost: median {statistics.median(valid):.2f} s" if valid else "nothing is known of the loss"
        )
        checks.at_most("at most", max(valid, default=None), 1.2)
        checks.equal("sessions that went on", resumed, 2 * _KILLS)
        checks.equal("messages lost for good", stage.ear.missed, 0)
    return checks.finding()


def _unsaved_s(stage: Stage, rig: Rig, camera: str, started_s: float, killed_s: float) -> float | None:
    """Seconds of running that no checkpoint holds: since the youngest, or since the camera's first frame if later."""
    age_s = _age_s(rig, camera)
    running = stage.ear.status(camera, "running", 0.0, since_s=started_s)
    return age_s if age_s is None or running is None else min(age_s, killed_s - running.published_s)


def _age_s(rig: Rig, camera: str) -> float | None:
    """Age of the camera's youngest checkpoint; None where it has none, or any of its files is damaged."""
    found = []
    now = read_clocks()
    for path in (rig.folder / "state").rglob(f"{camera}.*.state"):
        try:
            found.append(elapsed_s(decode_checkpoint(path.read_bytes()).clocks, now))
        except ModelError:
            return None
    return min(found, default=None)


def _resumed(stage: Stage, camera: str, session: str, since_s: float) -> bool:
    clip = stage.ear.clip(camera, 30.0, since_s=since_s)
    return clip is not None and clip.message.session == session


CASE = Case(
    "R14",
    "kill -9 at any instant",
    "checkpoint valid after each kill (1000 in the slow tests); at most 1 s is lost (and the time of writing it); "
    "the session goes on",
    run,
)
