"""R15: SIGTERM."""

from __future__ import annotations

import time
from pathlib import Path

from faults.bench import Bench
from faults.rig import lives
from faults.verdict import Case, Checks, Finding


def run(bench: Bench) -> Finding:
    """Terminate a pipeline with four cameras."""
    checks = Checks()
    shared = set(Path("/dev/shm").iterdir())
    with bench.stage(4) as stage:
        stage.ear.listen(3.0)
        children = stage.rig.process.children(recursive=True)
        asked_at, asked_s = time.time(), time.monotonic()
        code, took_s = stage.rig.stop()
        stage.ear.listen(1.0)
        checks.equal("exit code", code, 0)
        checks.at_most("ended after", took_s, 5.0)
        byes = [name for name in stage.names if stage.ear.status(name, "stopped", 0.0, since_s=asked_s)]
        checks.equal("cameras that said goodbye", len(byes), len(stage.names))
        written = [path for path in (stage.rig.folder / "state").rglob("*.state") if path.stat().st_mtime >= asked_at]
        checks.equal("cameras with a checkpoint from the end", len(written), len(stage.names))
        checks.equal("orphan processes", sum(map(lives, children)), 0)
        checks.equal("new files in /dev/shm", len(set(Path("/dev/shm").iterdir()) - shared), 0)
        checks.equal("messages lost", stage.ear.missed, 0)
    return checks.finding()


CASE = Case("R15", "SIGTERM", "exit 0 within 5 s, checkpoint, goodbye, no orphan process or shared memory", run)
