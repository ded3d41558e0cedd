"""R11: twice the frames that the machine can look at."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from faults.bench import Bench
from faults.verdict import Case, Checks, Finding

_CAMERAS, _RATE_HZ, _SLOTS = 4, 5.0, 16
_SETTLE_S, _MEASURE_S = 12.0, 15.0
_SLOWED = Path(__file__).parents[1] / "slowed.py"


def run(bench: Bench) -> Finding:
    """An encoder that takes so long that only every second frame can be looked at."""
    checks = Checks()
    per_picture_s = 2 / (_CAMERAS * _RATE_HZ)
    program = (sys.executable, str(_SLOWED), str(per_picture_s))
    with bench.stage(_CAMERAS, program=program) as stage:
        stage.ear.listen(_SETTLE_S)
        since_s = stage.ear.heard[-1].published_s
        settled = sum(stage.ear.last(name).counts.overrun for name in stage.names)
        stage.ear.listen(_MEASURE_S)
        late_s = [(clip.published_at - clip.captured_at) / 1e9 for _, clip in stage.ear.clips(since_s=since_s)]
        checks.at_most("latency p99", float(np.percentile(late_s, 99)), _SLOTS / _RATE_HZ)
        counts = [stage.ear.last(name).counts for name in stage.names]
        share = sum(c.thinned for c in counts) / max(1, sum(c.due for c in counts))
        checks.that(f"{share:.0%} of the frames thinned evenly", met=share > 0.3)
        checks.equal("dropped in bursts once it had settled (ring full)", sum(c.overrun for c in counts) - settled, 0)
        code, _ = stage.rig.stop()
        stage.ear.listen(1.0)
        final = [stage.ear.last(name).counts for name in stage.names]
        off = [c.due - c.processed - c.thinned - c.overrun - c.in_flight for c in final]
        checks.equal("frames not accounted for at the end", sum(map(abs, off)), 0)
        checks.equal("exit code", code, 0)
        checks.equal("messages lost", stage.ear.missed, 0)
    return checks.finding()


CASE = Case(
    "R11",
    "twice the work that can be done",
    "latency p99 at most what the ring holds (16 frames at 5 a second, 3.2 s); "
    "thinned evenly; every frame accounted for",
    run,
)
