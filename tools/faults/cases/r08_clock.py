"""R8: the camera's clock jumps ahead, back, or wraps."""

from __future__ import annotations

import itertools
import time

import numpy as np

from faults.bench import SOURCE_HZ, Bench, Stage
from faults.verdict import Case, Checks, Finding
from pipeline.fakecam import faults
from pipeline.stream.messages import Status

_WRAP_S = 8.0


def run(bench: Bench) -> Finding:
    """Jumps on one camera, the wrap of the RTP clock on another."""
    checks = Checks()

    def prepare(cameras: object) -> None:
        cameras[1].inject(faults.Wrap(_WRAP_S))  # type: ignore[index]

    with bench.stage(2, quick=True, watched=True, prepare=prepare) as stage:
        for count, by_s in enumerate((3600.0, -30.0), start=1):
            begun_s = time.monotonic()
            stage.cameras[0].inject(faults.Jump(by_s))
            checks.at_most(f"jump by {by_s:+g} s: state reset after", _reset(stage, count, begun_s), 2.0)
            stage.ear.listen(4.0)
        stage.ear.listen(max(0.0, stage.started_s + _WRAP_S + 8.0 - time.monotonic()))
        for name in stage.names:
            media_s = [frame.media_s for frame in stage.frames(name)]
            ordered = all(first < second for first, second in itertools.pairwise(media_s))
            checks.that(f"{name}: media time {'' if ordered else 'not '}monotonic", met=ordered)
        resets = stage.ear.last("cam0").resets
        checks.equal("jumps counted as seek", resets.get("seek", 0), 2)
        gaps = np.diff([frame.media_s for frame in stage.frames("cam1")])
        checks.at_most("wrap: largest gap", float(np.max(gaps)) * SOURCE_HZ, 2.0, "frame times")
        checks.equal("wrap: resets", sum(stage.ear.last("cam1").resets.values()), 0)
        reconnects = sum(stage.ear.last(name).counts.connections - 1 for name in stage.names)
        checks.equal("reconnects", reconnects, 0)
    return checks.finding()


def _reset(stage: Stage, count: int, since_s: float) -> float | None:
    found = stage.ear.wait(
        lambda m: isinstance(m, Status) and m.camera == "cam0" and m.resets.get("seek", 0) >= count,
        10.0,
        since_s=since_s,
    )
    return found.published_s - since_s if found else None


CASE = Case(
    "R8",
    "camera clock jumps ahead, back, wraps",
    "media time monotonic; the wrap invisible; one state reset for each jump",
    run,
)
