"""A soak as a picture: memory, descriptors and threads, latency with the load, and when which camera failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faults.soak_report import Report

_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#3b6fb6", "#e08214", "#27774b", "#c0392b", "#8c8c8c"


def draw(report: Report, path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional

    figure = Figure(figsize=(11, 12), layout="constrained")
    memory, holds, latency, faults = figure.subplots(4, 1, sharex=True, height_ratios=(3, 2.4, 2.4, 1.6))
    _memory(memory, report)
    _holds(holds, report)
    _latency(latency, report)
    _faults(faults, report)
    setting = report.setting
    for axes in (memory, holds, latency, faults):
        axes.axvspan(0, setting.warm_up_s / 60, color="#f2f2f2", zorder=0)
        axes.grid(visible=True, linewidth=0.4, alpha=0.6)
        axes.set_xlim(0, setting.seconds / 60)
    faults.set_xlabel("minutes; grey: warm-up")
    figure.suptitle(
        f"{setting.seconds / 60:g} min with {setting.cameras} cameras and {report.reconnects} reconnects, "
        f"{report.clips} clips, {report.missed} messages lost"
    )
    figure.savefig(path, dpi=120)


def _memory(axes: Any, report: Report) -> None:
    minutes = [sample.at_s / 60 for sample in report.samples]
    rss, slope = [sample.main_rss_mib for sample in report.samples], report.slopes["main RSS, MiB"]
    label = f"main process RSS: {slope.per_hour:+.2f} MiB/h ({slope.low:+.2f} to {slope.high:+.2f})"
    axes.plot(minutes, rss, color=_BLUE, linewidth=1.2, label=label)
    own = report.slopes["main heap and stacks, MiB"]
    axes.plot(
        minutes,
        [sample.main_own_mib for sample in report.samples],
        color=_BLUE,
        linewidth=0.9,
        linestyle=":",
        label=f"its heap and stacks: {own.per_hour:+.2f} MiB/h ({own.low:+.2f} to {own.high:+.2f})",
    )
    capture = report.slopes["PSS per capture process, MiB"]
    right = axes.twinx()
    right.plot(
        minutes,
        [sample.captures_pss_mib / max(1, sample.captures) for sample in report.samples],
        color=_ORANGE,
        linewidth=0.9,
        label=f"PSS per capture process (right): {capture.per_hour:+.2f} MiB/h",
    )
    right.set_ylabel("MiB per capture process", color=_ORANGE)
    right.set_ylim(bottom=0)
    axes.set_ylabel("MiB, main process", color=_BLUE)
    _legend(axes, right)


def _holds(axes: Any, report: Report) -> None:
    minutes = [sample.at_s / 60 for sample in report.samples]
    shown = {
        "descriptors of the main process": ("main_fds", _BLUE),
        "threads of the main process": ("main_threads", _GREEN),
        "capture processes": ("captures", _ORANGE),
        "shared memories": ("memfds", _GREY),
        "zombies": ("zombies", _RED),
    }
    for label, (name, colour) in shown.items():
        axes.plot(minutes, [getattr(sample, name) for sample in report.samples], color=colour, linewidth=1, label=label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("how many")
    axes.legend(loc="center right", fontsize=8)


def _latency(axes: Any, report: Report) -> None:
    minutes = [window.at_s / 60 for window in report.windows]
    axes.plot(minutes, [window.p50_ms for window in report.windows], "-", color=_GREEN, label="p50")
    axes.plot(minutes, [window.p99_ms for window in report.windows], "-", color=_RED, label="p99")
    axes.set_yscale("log")
    axes.set_ylabel("capture to publication, ms")
    right = axes.twinx()
    load = [sample.busy_cores for sample in report.samples]
    right.plot(
        [sample.at_s / 60 for sample in report.samples], load, color=_GREY, linewidth=0.6, label="busy cores (right)"
    )
    right.set_ylim(bottom=0)
    right.set_ylabel("cores busy, whole machine", color=_GREY)
    _legend(axes, right)


def _faults(axes: Any, report: Report) -> None:
    kinds = sorted({fault for _, _, fault in report.marks})
    for kind, colour in zip(
        kinds, ("#3b6fb6", "#e08214", "#27774b", "#c0392b", "#8c8c8c", *["black"] * 9), strict=False
    ):
        marks = [(at_s / 60, camera) for at_s, camera, fault in report.marks if fault == kind]
        axes.plot(*zip(*marks, strict=True), "|", color=colour, markersize=9, label=f"{kind}: {len(marks)}")
    axes.set_ylabel("camera")
    axes.set_yticks(range(report.setting.cameras))
    axes.set_ylim(-0.7, report.setting.cameras - 0.3)
    if kinds:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=6, fontsize=8, frameon=False)


def _legend(axes: Any, right: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    more, names = right.get_legend_handles_labels()
    axes.legend(handles + more, labels + names, loc="lower right", fontsize=8)
