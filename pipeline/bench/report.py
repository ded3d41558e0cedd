"""The whole bench as a record: limits, one camera, capacity at each rate, and what follows from them."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from engines.errors import ConfigError
from engines.probe import cpu
from pipeline.bench.capacity import at_capacity, search
from pipeline.bench.limits import Limits, mean_limits, measure_limits
from pipeline.bench.load import Load, Trial, measure_load
from pipeline.bench.receiving import measure_live_grab
from pipeline.bench.video import Video

if TYPE_CHECKING:
    from engines.bundle import Bundle

_FIRST_GUESS = 0.5  # of the bare limit


class OneCamera(msgspec.Struct, frozen=True):
    """A lone camera: milliseconds over the bare stages, in all and by stage; medians.

    Latency begins when `grab()` has returned, so the bare sum is retrieve, resize, one lone encoder run and one step
    at batch 1. `queue` is the wait in the ring and the wake-up of the inference loop, `publish` is clips, messages
    and ZeroMQ up to the subscriber.
    """

    bare_ms: float
    overhead_ms: float
    overhead_by_stage_ms: dict[str, float]


class RateReport(msgspec.Struct, frozen=True):
    """Everything at one sampling rate.

    `limit` is the number of cameras whose decoding, converting, encoding and stepping alone would fill the machine;
    `limit_left` the same for the cores that the fake cameras and the subscriber left in the trial at capacity.
    """

    rate_hz: float
    alone: Load
    one_camera: OneCamera | None
    trials: tuple[Load, ...]
    capacity: int
    limits_before: Limits
    limits_after: Limits
    limits: Limits
    limit: float
    efficiency: float
    cores_left: float
    limit_left: float
    efficiency_of_cores_left: float
    camera_ms_alone: float
    camera_ms_at_capacity: float
    mib_per_further_camera: float | None

    @property
    def others(self) -> float:
        """The most cores that other processes of this machine took from a trial."""
        return max(load.cores.others for load in self.every_trial)

    @property
    def every_trial(self) -> tuple[Load, ...]:
        """The lone camera's and the search's, by number of cameras."""
        return tuple(sorted((self.alone, *self.trials), key=lambda load: load.cameras))


class BenchReport(msgspec.Struct, frozen=True):
    """All that `vidpipe bench` measured in one run. `live_grab_ms` is a grab from RTSP; it is in no limit."""

    model: str
    sha: str
    machine: str
    video: str
    live_grab_ms: float
    receive_ms: float
    rates: tuple[RateReport, ...]


class Plan(msgspec.Struct, frozen=True):
    """What to measure: sampling rates, seconds a trial, most cameras to try."""

    model: str
    backend: str
    precision: str
    rates_hz: tuple[float, ...]
    seconds: float
    most: int


def run_bench(bundle: Bundle, video: Video, plan: Plan, progress: Callable[[str], None]) -> BenchReport:
    """Measure everything, telling `progress` what comes next.

    Raises:
        ConfigError: a rate is above the model's own or the video's.
        ModelError: the bundle does not run here.
        StreamError: the pipeline did not start.
    """
    fastest = min(bundle.manifest.input.fps, video.fps)
    if max(plan.rates_hz) > fastest:
        raise ConfigError(f"{bundle.name} on {video} samples {fastest:g} frames a second at most: choose lower --rates")
    progress("receiving: eight live cameras, grabbed and not looked at")
    live_grab_ms = measure_live_grab(video, min(10.0, plan.seconds))
    limits = _limits(bundle, video, plan, progress)
    flat_grab_ms = limits.decode.grab_ms
    rates = []
    for rate_hz in plan.rates_hz:
        alone, trials = _trials(rate_hz, limits, video, plan, progress)
        after = _limits(bundle, video, plan, progress)
        rates.append(rate_report(rate_hz, video.fps, alone, trials, (limits, after)))
        limits = after
    receive_ms = live_grab_ms - flat_grab_ms
    return BenchReport(
        bundle.name, bundle.sha, _machine(limits.cores), str(video), live_grab_ms, receive_ms, tuple(rates)
    )


def rate_report(
    rate_hz: float, source_hz: float, alone: Load, trials: tuple[Load, ...], measured: tuple[Limits, Limits]
) -> RateReport:
    """What the trials at one rate come to beside the limits before and after them."""
    limits = mean_limits(*measured)
    full = at_capacity((alone, *trials))
    capacity = full.cameras if full else 0
    cores_left = limits.cores - (full or alone).cores.test
    limit = limits.cameras(source_hz, rate_hz)
    limit_left = limits.cameras(source_hz, rate_hz, cores_left)
    return RateReport(
        rate_hz=rate_hz,
        alone=alone,
        one_camera=_one_camera(alone, limits),
        trials=trials,
        capacity=capacity,
        limits_before=measured[0],
        limits_after=measured[1],
        limits=limits,
        limit=limit,
        efficiency=capacity / limit,
        cores_left=cores_left,
        limit_left=limit_left,
        efficiency_of_cores_left=capacity / limit_left,
        camera_ms_alone=alone.camera_ms,
        camera_ms_at_capacity=(full or alone).camera_ms,
        mib_per_further_camera=_mib_per_camera(alone, full),
    )


def _limits(bundle: Bundle, video: Video, plan: Plan, progress: Callable[[str], None]) -> Limits:
    progress("bare limits: decoder, encoder, step")
    return measure_limits(bundle, video, plan.backend, plan.precision)


def _trials(
    rate_hz: float, limits: Limits, video: Video, plan: Plan, progress: Callable[[str], None]
) -> tuple[Load, tuple[Load, ...]]:
    """A lone camera for twice as long, since it gives few clips; then the search."""

    def trial(cameras: int, seconds: float = plan.seconds) -> Load:
        progress(f"{cameras} camera(s) sampled at {rate_hz:g} frames/s")
        return measure_load(video, Trial(plan.model, plan.backend, plan.precision, cameras, rate_hz, seconds))

    alone = trial(1, 2 * plan.seconds)
    if plan.most == 1:
        return alone, ()
    guess = max(2, round(_FIRST_GUESS * limits.cameras(video.fps, rate_hz)))
    return alone, tuple(search(trial, plan.most, guess))


def _one_camera(alone: Load, limits: Limits) -> OneCamera | None:
    if alone.delays is None:
        return None
    stages, p50_ms = alone.delays.stages_ms, alone.delays.p50_ms
    bare = {
        "capture": limits.decode.retrieve_ms + limits.decode.resize_ms,
        "queue": 0.0,
        "encode": limits.encoder[0].alone_ms,
        "step": limits.step[0].camera_ms,
    }
    over = {name: stages[name] - cost for name, cost in bare.items()}
    over["publish"] = p50_ms - sum(stages[name] for name in bare)
    return OneCamera(limits.bare_ms, p50_ms - limits.bare_ms, over)


def _mib_per_camera(alone: Load, full: Load | None) -> float | None:
    if full is None or full.cameras == alone.cameras:
        return None
    return (full.memory.total_mib - alone.memory.total_mib) / (full.cameras - alone.cameras)


def _machine(cores: int) -> str:
    models = [line.partition(":")[2].strip() for line in cpu().splitlines() if line.startswith("model name")]
    return f"{cores} cores of {models[0] if models else platform.machine()}"
