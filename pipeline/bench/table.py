"""The bench as tables on a terminal."""

from __future__ import annotations

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from pipeline.bench.limits import Limits
from pipeline.bench.load import Load
from pipeline.bench.report import BenchReport, RateReport

_DISTURBED = 0.1


def show(report: BenchReport, console: Console) -> None:
    """Print the tables."""
    console.print(Text(f"{report.model} on {report.video}; {report.machine}"))
    for rate in report.rates:
        console.print(Group("", _bare(report, rate), "", _loads(rate), "", _figures(rate)))
        if rate.others > _DISTURBED:
            console.print(f"other processes took up to {rate.others:.1f} cores: measure again on a quiet machine")


def _bare(report: BenchReport, rate: RateReport) -> Table:
    limits = rate.limits
    title = f"bare limits on {limits.cores} cores, in ms: {limits.backend}, encoder {limits.precision}"
    table = Table("stage", "before", "after", "mean", title=title)
    three = (rate.limits_before, rate.limits_after, limits)
    for name, costs in zip(_names(limits), zip(*map(_costs, three), strict=True), strict=True):
        table.add_row(name, *(f"{cost:.3f}" for cost in costs))
    table.add_section()
    table.add_row("grab from a live RTSP camera", f"{report.live_grab_ms:.3f}")
    table.add_row("  of that for receiving (in no limit)", f"{report.receive_ms:.3f}")
    return table


def _names(limits: Limits) -> list[str]:
    batches = [(f"encoder, batch {c.batch} alone", "  per frame, two in flight") for c in limits.encoder]
    stages = ["grab: decode, from the file", "retrieve", "resize", *(name for pair in batches for name in pair)]
    return [*stages, *(f"step per frame, batch {cost.batch}" for cost in limits.step)]


def _costs(limits: Limits) -> list[float]:
    decode = limits.decode
    encoder = [ms for cost in limits.encoder for ms in (cost.alone_ms, cost.picture_ms)]
    stages = [decode.grab_ms, decode.retrieve_ms, decode.resize_ms, *encoder]
    return [*stages, *(cost.camera_ms for cost in limits.step)]


def _loads(rate: RateReport) -> Table:
    """One row per trial: latency in ms, drops, CPU in cores, CPU per camera in ms a second, memory in MiB."""
    title = f"sampled at {rate.rate_hz:g} frames/s: latency in ms, CPU in cores, memory (PSS) in MiB"
    table = Table("", "p50", "p99", "drop", "capt", "infer", "test", "idle", "ms/s", "MiB", "", title=title)
    for load in rate.every_trial:
        late = (f"{load.delays.p50_ms:.1f}", f"{load.delays.p99_ms:.1f}") if load.delays else ("-", "-")
        cores = (load.cores.capture, load.cores.inference, load.cores.test, load.cores.idle)
        cost = (f"{load.camera_ms:.1f}", f"{load.memory.total_mib:.0f}")
        table.add_row(str(load.cameras), *late, str(load.dropped), *(f"{c:.2f}" for c in cores), *cost, _verdict(load))
    table.caption = (
        "capt, infer: vidpipe; test: fake cameras and subscriber; ms/s: CPU of vidpipe per camera and second"
    )
    return table


def _verdict(load: Load) -> str:
    if load.held:
        return "holds"
    return "too much" if load.came_up == load.cameras else f"only {load.came_up} came up"


def _figures(rate: RateReport) -> Table:
    """The figures that the trials and the limits come to, beside what vidpipe aims at on two cores."""
    table = Table("figure", "measured", "aim", title=f"at {rate.rate_hz:g} frames/s")
    table.add_row("capacity", f"{rate.capacity} cameras", "")
    cores = rate.limits.cores
    table.add_row(f"bare limit of {cores} cores", f"{rate.limit:.1f} cameras", "")
    table.add_row("efficiency (capacity / bare limit)", f"{rate.efficiency:.2f}", ">= 0.90")
    table.add_row(f"bare limit of the {rate.cores_left:.2f} cores left", f"{rate.limit_left:.1f} cameras", "")
    table.add_row("efficiency of the cores left", f"{rate.efficiency_of_cores_left:.2f}", "")
    table.caption = "cores left: what the fake cameras and the subscriber, which run here too, did not use"
    if rate.one_camera and rate.alone.delays:
        delays, one = rate.alone.delays, rate.one_camera
        published = f"p50 {delays.publish_p50_ms:.1f} ms, p99 {delays.publish_p99_ms:.1f} ms"
        table.add_row("one camera, grab to publish", published, "")
        table.add_row("one camera, grab to subscriber", f"p50 {delays.p50_ms:.1f} ms, p99 {delays.p99_ms:.1f} ms", "")
        split = ", ".join(f"{name} {ms:.1f}" for name, ms in one.overhead_by_stage_ms.items())
        table.add_row(f"  p50 over the bare {one.bare_ms:.1f} ms", f"{one.overhead_ms:.1f} ms", "<= 2 ms")
        table.add_row("", split, "")
    growth = rate.camera_ms_at_capacity / rate.camera_ms_alone if rate.camera_ms_alone else float("nan")
    spent = f"{rate.camera_ms_alone:.1f} and {rate.camera_ms_at_capacity:.1f} ms/s ({growth:.2f} times)"
    table.add_row("CPU per camera: alone, at capacity", spent, "flat")
    if rate.mib_per_further_camera is not None:
        table.add_row("memory per further camera (PSS)", f"{rate.mib_per_further_camera:.1f} MiB", "<= 60 MiB")
    return table
