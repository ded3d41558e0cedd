"""Trying cameras: each is opened as a run would open it, until its first picture or a reason why there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from pipeline.capture.fleet import Fleet
from pipeline.capture.supervisor import CameraState, CameraSupervisor
from pipeline.config.schema import Camera
from pipeline.inputs.plan import input_plans
from pipeline.plan import capture_plan, load_bundles

_SPARE_S = 10.0
_GIVEN_UP = (CameraState.BACKOFF, CameraState.AUTH_FAILED, CameraState.UNSUPPORTED, CameraState.FAILED)


class TrialResult(msgspec.Struct, frozen=True):
    """What came of trying one camera, with one sentence for people."""

    camera: str
    ok: bool
    finding: str


def try_cameras(cameras: Mapping[str, Camera], begin: Callable[[], None] = lambda: None) -> list[TrialResult]:
    """Try all cameras at once, each bounded by its own timeouts; in the order given.

    `begin` is called once all that is written down has proved right, before the first camera is touched.

    Raises:
        ConfigError: a camera contradicts its model.
        ModelError: a model is missing or damaged.
    """
    bundles = load_bundles(cameras)
    plans = [capture_plan(name, camera, bundles[camera.model]) for name, camera in cameras.items()]
    input_plans(cameras, bundles)
    limit_s = max(2 * plan.open_timeout_s + plan.stall_s for plan in plans) + _SPARE_S
    begin()
    results: dict[str, TrialResult] = {}
    started_s = time.monotonic()
    with Fleet(plans) as fleet:
        while len(results) < len(plans) and time.monotonic() - started_s < limit_s:
            fleet.wait(0.5)
            for name, camera in fleet.cameras.items():
                result = None if name in results else _judge(name, camera, time.monotonic() - started_s)
                if result is not None:
                    results[name] = result
                    camera.halt()
    nothing = "gave no picture and no reason in time"
    return [results.get(plan.name) or TrialResult(plan.name, ok=False, finding=nothing) for plan in plans]


def _judge(name: str, camera: CameraSupervisor, waited_s: float) -> TrialResult | None:
    if camera.size is not None and camera.ring.counts().written:  # the picture may be there before the word of it
        width, height = camera.size
        rate = f" at {camera.fps:.3g} frames/s" if 0 < camera.fps <= 240 else ""
        seconds = f"first picture after {waited_s:.1f} s"
        return TrialResult(name, ok=True, finding=f"ok: {width}x{height}{rate}, {seconds}")
    if camera.state in _GIVEN_UP:
        return TrialResult(name, ok=False, finding=camera.reason)
    return None
