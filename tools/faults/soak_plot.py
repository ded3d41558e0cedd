"""A soak as a picture: memory, descriptors and threads, latency with the load, and when which camera failed."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from faults.soak_report import LOOKS, Report

_CAPTURE = "RSS per capture process, MiB"
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
    """Each curve from its own median of the ten minutes after the warm-up, so that a leak of a MiB an hour shows."""
    for name, colour in (("main RSS, MiB", _BLUE), ("main heap and stacks, MiB", _GREEN), (_CAPTURE, _ORANGE)):
        values = [LOOKS[name](sample) for sample in report.samples]
        minutes = [sample.at_s / 60 for sample in report.samples]
        first = report.setting.warm_up_s / 60
        level = statistics.median(v for m, v in zip(minutes, values, strict=True) if first <= m <= first + 10)
        slope = report.slopes[name]
        label = f"{name.removesuffix(', MiB')}, {level:.0f} MiB: {slope.per_hour:+.2f} MiB/h"
        label += f" ({slope.low:+.2f} to {slope.high:+.2f})"
        axes.plot(minutes, [value - level for value in values], color=colour, linewidth=1, label=label)
    hours = (report.setting.seconds - report.setting.warm_up_s) / 3600
    span = [report.setting.warm_up_s / 60, report.setting.seconds / 60]
    axes.plot(span, [0, hours], color="black", linewidth=0.8, linestyle="--", label="1 MiB/h")
    axes.set_ylabel("MiB above the level after the warm-up")
    axes.set_ylim(-6, 6)
    axes.legend(loc="lower right", fontsize=8)


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
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
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
    for number, kind in enumerate(kinds):
        marks = [(at_s / 60, camera) for at_s, camera, fault in report.marks if fault == kind]
        axes.plot(*zip(*marks, strict=True), "|", color=f"C{number}", markersize=9, label=f"{kind}: {len(marks)}")
    axes.set_ylabel("camera")
    axes.set_yticks(range(report.setting.cameras))
    axes.set_ylim(-0.7, report.setting.cameras - 0.3)
    if kinds:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=9, fontsize=8, frameon=False)


def _legend(axes: Any, right: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    more, names = right.get_legend_handles_labels()
    axes.legend(handles + more, labels + names, loc="lower right", fontsize=8)
