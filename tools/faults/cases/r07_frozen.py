"""R7: the picture stands still while packets keep coming."""

from __future__ import annotations

import time

from faults.bench import Bench, Stage
from faults.verdict import Case, Checks, Finding
from pipeline.fakecam import faults
from pipeline.stream.messages import Prediction

_KINDS = ("exact", "encoded")


def run(bench: Bench) -> Finding:
    """One camera repeats a picture, one encodes the same again and again, one shows a still scene with noise."""
    checks = Checks()
    with bench.stage(3) as stage:
        connections = [stage.ear.last(name).counts.connections for name in stage.names]
        begun_s = time.monotonic()
        stage.cameras[0].inject(faults.Freeze("exact"))
        stage.cameras[1].inject(faults.Freeze("encoded"))
        stage.cameras[2].inject(faults.Freeze("noisy"))
        for kind, name in zip(_KINDS, stage.names, strict=False):
            frozen = stage.ear.status(name, "frozen", 20.0, since_s=begun_s)
            checks.at_most(f"{kind}: frozen after", frozen.published_s - begun_s if frozen else None, 10.0)
            flagged = _flagged(stage, name, begun_s)
            checks.that(f"{kind}: predictions {'' if flagged else 'not '}flagged", met=flagged)
        stage.ear.listen(max(0.0, begun_s + 14.0 - time.monotonic()))
        states = stage.ear.states("cam2", begun_s)
        checks.that(f"still scene with sensor noise: {', '.join(states)}", met="frozen" not in states)
        ended_s = time.monotonic()
        for camera in stage.cameras:
            camera.clear()
        for kind, name in zip(_KINDS, stage.names, strict=False):
            back = stage.ear.status(name, "running", 10.0, since_s=ended_s)
            checks.at_most(f"{kind}: running after its end", back.published_s - ended_s if back else None, 5.0)
        after = [stage.ear.last(name).counts.connections for name in stage.names]
        checks.equal("reconnects", sum(after) - sum(connections), 0)
    return checks.finding()


def _flagged(stage: Stage, name: str, since_s: float) -> bool:
    found = stage.ear.wait(
        lambda m: isinstance(m, Prediction) and m.camera == name and bool(getattr(m, "frozen", False)),
        12.0,
        since_s=since_s,
    )
    return found is not None


CASE = Case("R7", "frozen picture", "`frozen` within 10 s; predictions flagged; no reconnect", run)
