"""R13: the publisher is killed and started again."""

from __future__ import annotations

import socket
import time

from faults.bench import Bench, Stage
from faults.rig import lives, running
from faults.verdict import Case, Checks, Finding
from pipeline.stream.messages import KINDS


def run(bench: Bench) -> Finding:
    """Kill -9 with four cameras, then start with the same configuration."""
    checks = Checks()
    with bench.stage(4) as stage:
        stage.ear.listen(3.0)
        epoch = stage.ear.heard[-1].message.epoch
        captures = stage.rig.captures()
        stage.rig.child.kill()
        stage.rig.child.wait()
        killed_s = time.monotonic()
        with running(stage.rig.folder, stage.rig.config, stage.rig.address):
            bound_s = _bound_s(stage.rig.address)
            first = stage.ear.wait(lambda m: m.epoch > epoch, 30.0, since_s=killed_s)
            back_s = max(0.0, first.at_s - bound_s) if first else None
            checks.at_most("client hears the new publisher after it is bound", back_s, 2.0)
            checks.note(f"that is {first.at_s - killed_s:.1f} s after the kill" if first else "")
            back = [stage.ear.clip(name, 30.0, since_s=killed_s) for name in stage.names]
            checks.that("all cameras give clips again", met=None not in back)
            grown = first.message.epoch - epoch if first else 0
            checks.that(f"epoch grew by {grown}", met=grown >= 1)
            checks.equal("duplicates", _duplicates(stage), 0)
            checks.equal("messages lost", stage.ear.missed, 0)
            checks.equal("orphan capture processes", sum(map(lives, captures)), 0)
    return checks.finding()


def _bound_s(address: str) -> float:
    """Wait until the address takes connections; the monotonic time of that."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    deadline_s = time.monotonic() + 30.0
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection((host, int(port)), 1.0).close()
        except OSError:
            time.sleep(0.01)
        else:
            return time.monotonic()
    raise RuntimeError(f"nobody listens at {address} after 30 s")


def _duplicates(stage: Stage) -> int:
    keys = [(m.camera, KINDS[type(m)], m.epoch, m.seq) for m in (heard.message for heard in list(stage.ear.heard))]
    return len(keys) - len(set(keys))


CASE = Case("R13", "publisher killed and restarted", "client back within 2 s; epoch grows; no duplicate", run)
