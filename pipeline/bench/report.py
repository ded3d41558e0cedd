"""The whole bench: limits, one camera, capacity at each rate; as a record, a table and a chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from engines.bundle import Bundle
from engines.errors import ConfigError, MissingExtraError
from pipeline.bench.capacity import capacity, search
from pipeline.bench.limits import Limits, measure_limits
from pipeline.bench.load import Load, Trial, measure_load
from pipeline.bench.video import FPS


class RateReport(msgspec.Struct, frozen=True):
    """Everything at one sampling rate; `efficiency` is capacity over what the bare limits would allow."""

    rate_hz: float
    trials: tuple[Load, ...]
    capacity: int
    limit: float
    efficiency: float
    overhead_ms: float


class BenchReport(msgspec.Struct, frozen=True):
    """All that `vidpipe bench` measured in one run."""

    model: str
    sha: str
    limits: Limits
    rates: tuple[RateReport, ...]


class Plan(msgspec.Struct, frozen=True):
    """What to measure: sampling rates, seconds a trial, most cameras to try."""

    model: str
    backend: str
    rates_hz: tuple[float, ...]
    seconds: float
    most: int


def run_bench(bundle: Bundle, video: Path, plan: Plan, progress: Callable[[str], None]) -> BenchReport:
    """Measure everything, telling `progress` what comes next.

    Raises:
        ConfigError: a rate is above the model's own.
        ModelError: the bundle does not run here.
    """
    fastest = bundle.manifest.input.fps
    if max(plan.rates_hz) > fastest:
        raise ConfigError(f"the model {bundle.name} samples {fastest:g} frames a second at most: choose lower --rates")
    progress("bare limits: decoder, encoder, step")
    limits = measure_limits(bundle, video, plan.backend)
    rates = tuple(_at_rate(rate_hz, limits, video, plan, progress) for rate_hz in plan.rates_hz)
    return BenchReport(bundle.name, bundle.sha, limits, rates)


def _at_rate(rate_hz: float, limits: Limits, video: Path, plan: Plan, progress: Callable[[str], None]) -> RateReport:
    def trial(cameras: int) -> Load:
        progress(f"{cameras} camera(s) sampled at {rate_hz:g} frames/s")
        return measure_load(video, Trial(plan.model, plan.backend, cameras, rate_hz, plan.seconds))

    trials = tuple(search(trial, plan.most))
    carried, limit = capacity(list(trials)), limits.cameras(FPS, rate_hz)
    bare_ms = limits.convert_ms + limits.encoder[0].alone_ms + limits.step_ms
    return RateReport(rate_hz, trials, carried, limit, carried / limit, trials[0].p50_ms - bare_ms)


def show(report: BenchReport, console: Console) -> None:
    """Print the tables."""
    limits = report.limits
    bare = Table("stage", "cost", title=f"bare limits on {limits.cores} cores, {limits.backend} {limits.precision}")
    bare.add_row("grab (decode)", f"{limits.grab_ms:.3f} ms a frame")
    bare.add_row("retrieve and resize", f"{limits.convert_ms:.3f} ms a frame")
    for cost in limits.encoder:
        bare.add_row(f"encoder, batch {cost.batch}", f"{cost.alone_ms:.2f} ms, {cost.pictures_per_s:.0f} pictures/s")
    bare.add_row("recurrent step", f"{limits.step_ms:.3f} ms a camera")
    console.print(Group(bare, *(part for rate in report.rates for part in _rate(rate))))


def _rate(rate: RateReport) -> tuple[Table, Text]:
    title = f"640x360 H.264 at {FPS} frames/s, sampled at {rate.rate_hz:g}"
    table = Table("cameras", "p50", "p99", "dropped", "CPU", "memory", "verdict", title=title)
    for load in sorted(rate.trials, key=lambda trial: trial.cameras):
        latency = (f"{load.p50_ms:.1f} ms", f"{load.p99_ms:.1f} ms")
        cost = (f"{load.cpu_cores:.2f} cores", f"{load.memory_mib:.0f} MiB")
        table.add_row(str(load.cameras), *latency, str(load.dropped), *cost, "holds" if load.held else "too much")
    end = f"capacity {rate.capacity} cameras, bare limit {rate.limit:.1f}: efficiency {rate.efficiency:.2f}; "
    return table, Text(f"{end}one camera takes {rate.overhead_ms:.1f} ms over the bare stages (p50)\n")


def draw(report: BenchReport, path: Path) -> None:
    """Write the chart: p99 latency over the number of cameras, with capacity and bare limit marked.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise MissingExtraError("vidpipe bench --chart", "matplotlib", "bench") from error
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for index, rate in enumerate(report.rates):
        loads: Sequence[Load] = sorted(rate.trials, key=lambda trial: trial.cameras)
        colour = f"C{index}"
        label = f"sampled at {rate.rate_hz:g} frames/s: {rate.capacity} cameras"
        axes.plot([t.cameras for t in loads], [t.p99_ms for t in loads], "o-", color=colour, label=label)
        axes.axvline(rate.limit, color=colour, linestyle=":", label=f"bare limit {rate.limit:.0f}")
    axes.axhline(200, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel="cameras", ylabel="p99 from capture to subscriber, ms", yscale="log", title=report.model)
    axes.legend()
    figure.savefig(path, dpi=150)
