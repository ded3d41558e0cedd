"""R18: somebody sets the machine's clock."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from faults.bench import Bench, Stage
from faults.verdict import Case, Checks, Finding

_STEPS_S = (3600.0, -7200.0)
_CLOCK = """
import struct, time
_file = open({path!r}, "rb", buffering=0)
_time_ns = time.time_ns
def _step_ns():
    _file.seek(0)
    return struct.unpack("<q", _file.read(8))[0]
time.time_ns = lambda: _time_ns() + _step_ns()
time.time = lambda: time.time_ns() / 1e9
"""


def run(bench: Bench) -> Finding:
    """Every Python process of the pipeline reads a wall clock that we step by an hour ahead, then by two back."""
    checks = Checks()
    folder = bench.own_folder()
    step = folder / "step"
    _set(step, 0.0)
    (folder / "sitecustomize.py").write_text(_CLOCK.format(path=str(step)))
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    with bench.stage(2, more={"PYTHONPATH": path}) as stage:
        stage.ear.listen(10.0)
        calm_ms = _latency_ms(stage, 0)
        resets = [stage.ear.last(name).counts for name in stage.names]
        for by_s in _STEPS_S:
            heard = len(stage.ear.heard)
            seen_ns = stage.ear.heard[-1].message.published_at
            _set(step, by_s if by_s > 0 else by_s + _STEPS_S[0])
            stage.ear.listen(10.0)
            moved_s = (stage.ear.heard[-1].message.published_at - seen_ns) / 1e9 - 10.0
            checks.that(f"stepped by {moved_s:+.0f} s", met=abs(moved_s - by_s) < 5)
            newest = stage.ear.clips()[-1][1]
            apart_s = abs(newest.published_at - newest.captured_at) / 1e9
            checks.that("for capture processes as well", met=apart_s < 1, limit=f"not {apart_s:.0f} s apart")
            checks.at_most("latency p99", _latency_ms(stage, heard), max(3 * calm_ms, calm_ms + 20), "ms")
        after = [stage.ear.last(name).counts for name in stage.names]
        checks.equal("reconnects", sum(a.connections - b.connections for a, b in zip(after, resets, strict=True)), 0)
        checks.equal("resets", sum(a.resets - b.resets for a, b in zip(after, resets, strict=True)), 0)
        checks.note(f"latency p99 before: {calm_ms:.1f} ms")
        checks.equal("messages lost", stage.ear.missed, 0)
        checks.that("clips came all the time", met=_longest_silence_s(stage) < 2.5)
    return checks.finding()


def _set(path: Path, by_s: float) -> None:
    path.touch()
    with path.open("r+b", buffering=0) as file:  # in place: a reader must never find it empty
        file.write(round(by_s * 1e9).to_bytes(8, "little", signed=True))


def _latency_ms(stage: Stage, first: int) -> float:
    totals = [h.message.latency["total"] for h in stage.ear.heard[first:] if h.message.latency]
    return float(np.percentile(totals, 99)) / 1e3


def _longest_silence_s(stage: Stage) -> float:
    arrivals = [heard.at_s for heard in stage.ear.heard if heard.message.latency]
    return float(np.max(np.diff([*arrivals, time.monotonic()])))


CASE = Case(
    "R18",
    "wall clock set ahead by an hour, back by two",
    "latencies and timeouts unaffected: no reconnect, no reset, no silence",
    run,
)
