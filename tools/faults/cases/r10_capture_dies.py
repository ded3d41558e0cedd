"""R10: a capture process hangs or crashes; the other cameras must not feel it."""

from __future__ import annotations

import itertools
import signal
import time

import numpy as np

from faults.bench import SOURCE_HZ, Bench, Stage, busy
from faults.pauses import Pauses
from faults.verdict import Case, Checks, Finding

_STALL_S = 2.0
_OTHERS = ("cam1", "cam2", "cam3", "cam4")


def run(bench: Bench) -> Finding:
    """Five cameras at 30 frames a second into the model: stop, then crash the first one's process."""
    checks = Checks()
    with bench.stage(5, quick=True, watched=True) as stage, Pauses(stage.rig.child.pid) as pauses:
        stage.ear.listen(5.0)
        calm_s = time.monotonic()
        stage.ear.listen(8.0)
        begun_s = time.monotonic()
        calm = _largest_gap(stage, calm_s, "media_s"), _largest_gap(stage, calm_s, "handed_s")
        _measure(stage, checks, signal.SIGSTOP, _STALL_S + 1.0)
        stage.ear.listen(12.0)
        _measure(stage, checks, signal.SIGSEGV, 1.0)
        stage.ear.listen(2.0)
        unseen, late = _largest_gap(stage, begun_s, "media_s"), _largest_gap(stage, begun_s, "handed_s")
        excuse = busy(pauses)
        checks.at_most("others' largest gap between frames", unseen, 2.0, "frame times", excuse=excuse)
        checks.note(f"between their arrivals at the model {late:.1f} (without a fault {calm[0]:.2f} and {calm[1]:.1f})")
        checks.note(f"its threads waited for a CPU for {pauses.worst_s * SOURCE_HZ:.1f} in the worst second")
        dropped = sum(stage.ear.last(name).counts.thinned + stage.ear.last(name).counts.overrun for name in _OTHERS)
        checks.note(f"their frames dropped {dropped}")
        checks.equal("messages lost", stage.ear.missed, 0)
        holes = [_clip_holes(stage, name) for name in _OTHERS]
        checks.equal("clips left out of others", sum(holes), 0)
        checks.equal("statuses out of balance", stage.ear.unbalanced(), 0)
    return checks.finding()


def _measure(stage: Stage, checks: Checks, number: signal.Signals, limit_s: float) -> None:
    child = stage.rig.capture_of(stage.cameras[0].port)
    if child is None:
        checks.that("the capture process was not found", met=False)
        return
    child.send_signal(number)
    hurt_s = time.monotonic()
    seen = stage.ear.status("cam0", "backoff", 15.0, since_s=hurt_s)
    checks.at_most(f"{number.name} seen after", seen.published_s - hurt_s if seen else None, limit_s)
    since_s = seen.published_s if seen else hurt_s
    back = stage.ear.status("cam0", "running", 15.0, since_s=since_s)
    checks.at_most("frames again after", back.published_s - since_s if back else None, 3.0)


def _largest_gap(stage: Stage, since_s: float, clock: str) -> float:
    """In frame times: by media time, what the model did not see; by the time of handing over, how long it waited."""
    gaps = []
    for name in _OTHERS:
        times_s = [getattr(frame, clock) for frame in stage.frames(name, since_s)]
        gaps.append(float(np.max(np.diff(times_s))) * SOURCE_HZ)
    return max(gaps)


def _clip_holes(stage: Stage, name: str) -> int:
    indices = [clip.clip.index for _, clip in stage.ear.clips(name)]
    return sum(second - first != 1 for first, second in itertools.pairwise(indices))


CASE = Case(
    "R10",
    "read() hangs, capture process crashes (SIGSTOP, SIGSEGV)",
    "seen within 1 s (after the stall limit of 2 s, where it hangs), back within 3 s; "
    "others: gaps of at most 2 frame times, 0 messages lost",
    run,
)
