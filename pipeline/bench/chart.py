"""The bench as a chart: latency over the number of cameras, and under it where the cores went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.errors import MissingExtraError
from pipeline.bench.load import Load
from pipeline.bench.report import BenchReport, RateReport

_LIMIT_MS = 200.0
_SHARES = (
    ("capture", "capture processes", "#3b6fb6"),
    ("inference", "inference process", "#e08214"),
    ("fake_cameras", "fake cameras (test)", "#b9b9b9"),
    ("subscriber", "subscriber (test)", "#8c8c8c"),
    ("others", "rest of the machine", "#e3e3e3"),
)


def draw(report: BenchReport, path: Path) -> None:
    """Write the chart as PNG, one column per sampling rate.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise MissingExtraError("vidpipe bench --chart", "matplotlib", "bench") from error
    columns = len(report.rates)
    figure = Figure(figsize=(1.5 + 6 * columns, 7.5), layout="constrained")
    grid = figure.subplots(2, columns, sharex="col", sharey="row", squeeze=False, height_ratios=(3, 2))
    for column, rate in enumerate(report.rates):
        _latency(grid[0][column], rate)
        _cores(grid[1][column], rate)
    grid[0][0].set_ylim(*_latency_range(report))
    grid[0][0].set_ylabel("grab to subscriber, ms")
    grid[1][0].set_ylabel("cores in use")
    figure.legend(*grid[1][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    limits = report.rates[0].limits
    figure.suptitle(f"{report.model}, {limits.backend} {limits.precision}, {limits.cores} cores\n{report.video}")
    figure.savefig(path, dpi=150)


def _latency(axes: Any, rate: RateReport) -> None:
    loads = [load for load in rate.every_trial if load.delays is not None]
    x = [load.cameras for load in loads]
    axes.plot(x, [_p(load, "p99_ms") for load in loads], "-", color="#c0392b", linewidth=1.2, label="p99")
    axes.plot(x, [_p(load, "p50_ms") for load in loads], "-", color="#27774b", linewidth=1.2, label="p50")
    for load in loads:
        filled = {"markerfacecolor": None if load.held else "white"}
        axes.plot(load.cameras, _p(load, "p99_ms"), "o", color="#c0392b", markersize=5, **filled)
        axes.plot(load.cameras, _p(load, "p50_ms"), "o", color="#27774b", markersize=5, **filled)
    axes.axhline(_LIMIT_MS, color="grey", linewidth=0.8, linestyle="--", label=f"{_LIMIT_MS:g} ms")
    axes.axvline(rate.capacity, color="black", linewidth=1.0, label=f"capacity {rate.capacity}")
    axes.axvline(rate.limit, color="black", linewidth=1.0, linestyle=":", label=f"bare limit {rate.limit:.1f}")
    axes.plot([], [], "o", color="grey", markerfacecolor="white", label="did not hold")
    axes.set_yscale("log")
    axes.set_yticks([k * 10**power for power in range(-1, 5) for k in (1, 2, 5)], minor=False)
    axes.set_yticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title(f"sampled at {rate.rate_hz:g} frames/s: efficiency {rate.efficiency:.2f}", fontsize=11)
    axes.grid(visible=True, which="major", linewidth=0.4, alpha=0.6)
    axes.legend(loc="upper left", fontsize=9)
    axes.tick_params(labelbottom=True)


def _latency_range(report: BenchReport) -> tuple[float, float]:
    """From below the quickest to above the slowest of all rates, which share an axis."""
    delays = [load.delays for rate in report.rates for load in rate.every_trial if load.delays is not None]
    quickest = min((each.p50_ms for each in delays), default=1.0)
    slowest = max((each.p99_ms for each in delays), default=_LIMIT_MS)
    return quickest / 1.5, max(2 * _LIMIT_MS, 1.5 * slowest)


def _p(load: Load, name: str) -> float:
    value: float = getattr(load.delays, name)
    return value


def _cores(axes: Any, rate: RateReport) -> None:
    # a number tried twice is shown once, by its better trial
    best = {load.cameras: load for load in sorted(rate.every_trial, key=lambda load: load.held)}
    loads = [best[cameras] for cameras in sorted(best)]
    shares = [[getattr(load.cores, name) for load in loads] for name, _, _ in _SHARES]
    x = [load.cameras for load in loads]
    labels, colours = [label for _, label, _ in _SHARES], [colour for _, _, colour in _SHARES]
    axes.stackplot(x, shares, labels=labels, colors=colours, linewidth=0)
    axes.axhline(rate.limits.cores, color="grey", linewidth=0.8, linestyle="--")
    axes.axvline(rate.capacity, color="black", linewidth=1.0)
    axes.axvline(rate.limit, color="black", linewidth=1.0, linestyle=":")
    axes.set_xlabel("cameras")
    axes.set_xlim(left=0)
    axes.set_ylim(0, rate.limits.cores * 1.08)
    axes.grid(visible=True, linewidth=0.4, alpha=0.6)
