"""A sweep as one plot: accuracy over milliseconds a frame, a colour per family, a size per clip length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.errors import ConfigError, MissingExtraError
from engines.evaluation.report.style import GREY, PALETTE
from engines.evaluation.sweep.record import Sweep, Trained


def draw(sweep: Sweep, path: Path) -> None:
    """Write the plot as PNG.

    Raises:
        ConfigError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise MissingExtraError("the plot of a sweep", "matplotlib", "evaluate") from error
    figure = Figure(figsize=(8.5, 5.2), layout="constrained")
    axes = figure.subplots()
    _points(axes, sweep)
    _front(axes, sweep)
    axes.set_xlim(0.0, 1.08 * max((sweep.timing(row).total_ms for row in sweep.rows), default=1.0))
    axes.set_xlabel(f"milliseconds per frame, encoder and step, one camera, {sweep.backend}")
    axes.set_ylabel(f"clip accuracy, {sweep.judged}")
    axes.set_title(f"{sweep.recipe}: bars are 95 % intervals by group", fontsize=11)
    axes.grid(visible=True, linewidth=0.4, alpha=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, frameon=False)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise ConfigError(f"the plot cannot be written to {path}: {error.strerror}: choose another folder") from error


def front(sweep: Sweep) -> list[Trained]:
    """Rows that no other beats in both accuracy and time, from quick to slow."""
    known = [row for row in sweep.rows if row.accuracy.value is not None]
    known.sort(key=lambda row: (sweep.timing(row).total_ms, -(row.accuracy.value or 0.0)))
    best, kept = -1.0, []
    for row in known:
        if row.accuracy.value is not None and row.accuracy.value > best:
            best = row.accuracy.value
            kept.append(row)
    return kept


def _points(axes: Any, sweep: Sweep) -> None:
    families = list(dict.fromkeys(row.family for row in sweep.rows))
    lengths = sorted({row.frames for row in sweep.rows})
    most = max((sweep.timing(row).total_ms for row in sweep.rows), default=1.0)
    for row in sweep.rows:
        accuracy, place = row.accuracy, lengths.index(row.frames)
        if accuracy.value is None:
            continue
        # lengths cost the same: beside each other, so that their bars can be told apart
        x = sweep.timing(row).total_ms + (place - (len(lengths) - 1) / 2) * 0.008 * most
        colour = PALETTE[families.index(row.family) % len(PALETTE)]
        if accuracy.low is not None and accuracy.high is not None:
            axes.plot([x, x], [accuracy.low, accuracy.high], color=colour, linewidth=1.2, alpha=0.5)
        axes.plot(x, accuracy.value, "o", color=colour, markersize=5 + 2.5 * place)
        axes.annotate(f"{row.size}", (x, accuracy.value), (5, 5), textcoords="offset points", fontsize=8, color=GREY)
    for family, colour in zip(families, PALETTE * 2, strict=False):
        axes.plot([], [], "o", color=colour, label=family)
    for place, frames in enumerate(lengths):
        axes.plot([], [], "o", color=GREY, markersize=5 + 2.5 * place, label=f"{frames} frames")


def _front(axes: Any, sweep: Sweep) -> None:
    rows = front(sweep)
    points = [(sweep.timing(row).total_ms, row.accuracy.value) for row in rows]
    axes.plot(*zip(*points, strict=True), color=GREY, linewidth=1, linestyle="--", zorder=0, label="best for its time")
    baselines = [row.baseline_accuracy.value for row in sweep.rows if row.baseline_accuracy.value is not None]
    if baselines:
        axes.axhline(max(baselines), color=GREY, linewidth=1, linestyle=":", label="best simple baseline")
