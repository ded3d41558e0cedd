"""The plots of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines.evaluation.alarms import CurvePoint
from engines.evaluation.judging import Material
from engines.evaluation.metrics import BINS
from engines.evaluation.record import Bin, Evaluation, StreamScore
from engines.evaluation.report.style import BLUE, GREEN, GREY, ORANGE, PALETTE, RED, canvas, svg_of
from engines.evaluation.resampling import Figure
from engines.evaluation.wording import TITLES

TIMELINE_S = 150.0


def against_baselines(found: Evaluation) -> str:
    """Accuracy and ranking of the model beside the baselines, each with its interval."""
    ranked = "auc" if len(found.model.labels) == 2 else "map"
    rows = [(found.model.name, found.figures), *found.baselines.items()]
    with canvas(7.2, 0.9 + 0.42 * len(rows), "against") as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, name in ((left, "accuracy"), (right, ranked)):
            _intervals(axes, [figures[name] for _, figures in rows])
            axes.set_title(TITLES[name], fontsize=11)
        left.set_yticks(range(len(rows)), [name for name, _ in rows])
        left.invert_yaxis()
        return svg_of(figure, "accuracy of the model and of the baselines with 95 % intervals")


def _intervals(axes: Any, figures: Sequence[Figure]) -> None:
    for row, figure in enumerate(figures):
        if figure.value is None:
            continue
        colour = BLUE if row == 0 else GREY
        if figure.low is not None and figure.high is not None:
            axes.plot(
                [figure.low, figure.high], [row, row], color=colour, linewidth=3, solid_capstyle="round", alpha=0.55
            )
        axes.plot(figure.value, row, "o", color=colour, markersize=8)
        axes.annotate(
            f"{figure.value:.3f}", (figure.value, row), (0, 8), textcoords="offset points", ha="center", fontsize=10
        )
    axes.set_ylim(-0.6, len(figures) - 0.5)
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")


def reliability(bins: Sequence[Bin]) -> str:
    """How often the model is right where it says so with a probability, and how often it says so."""
    filled = [each for each in bins if each.clips and each.confidence is not None and each.accuracy is not None]
    with canvas(4.8, 4.6, "reliability") as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        top.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfectly calibrated")
        for each in filled:
            top.plot([each.confidence] * 2, [each.confidence, each.accuracy], color=RED, linewidth=2, alpha=0.5)
        most = max((each.clips for each in filled), default=1)
        sizes = [25.0 + 130.0 * each.clips / most for each in filled]
        top.scatter(
            [each.confidence for each in filled], [each.accuracy for each in filled], sizes, color=BLUE, zorder=3,
            linewidth=0, label="clips, larger where there are more",
        )  # fmt: skip
        top.set_ylabel("share that is right")
        top.set_ylim(-0.03, 1.03)
        top.legend(loc="upper left", fontsize=10)
        bottom.bar(
            [each.low + 0.5 / BINS for each in bins], [each.clips for each in bins], width=0.9 / BINS, color=BLUE
        )
        bottom.set_ylabel("clips")
        bottom.set_xlabel("probability of the label decided for")
        least = min((each.low for each in filled), default=0.0)
        bottom.set_xlim(max(0.0, least - 1.0 / BINS), 1.0)
        return svg_of(figure, "reliability diagram: share of right clips over their probability, with a histogram")


def alarm_curve(stream: StreamScore, figures: Mapping[str, Figure]) -> str:
    """Delay and misses against false alarms as the threshold moves, with and without hysteresis."""
    with canvas(4.8, 4.6, "alarms") as figure:
        top, bottom = figure.subplots(2, 1, sharex=True)
        for (name, points), colour, marker in zip(stream.curve.items(), (BLUE, ORANGE), ("o", "s"), strict=True):
            known = [each for each in points if each.false_alarms_per_hour is not None]
            known.sort(key=lambda each: each.threshold)
            rates = [each.false_alarms_per_hour for each in known]
            delays, missed = ([_or_nan(value) for value in values] for values in _columns(known))
            for axes, values in ((top, delays), (bottom, missed)):
                # the line only says which threshold comes next
                axes.plot(rates, values, color=colour, linewidth=1, alpha=0.35)
                axes.plot(rates, values, marker, color=colour, markersize=5, label=name)
        rate = figures["false_alarms_per_hour"].value
        for axes, value in ((top, figures["delay_median_s"].value), (bottom, figures["missed_events"].value)):
            if rate is not None and value is not None:
                axes.plot(rate, value, "*", color=RED, markersize=15, label="rules of the bundle", zorder=5)
        top.set_ylabel("median delay, s")
        top.set_ylim(bottom=0)
        bottom.set_ylabel("events missed, share")
        bottom.set_ylim(-0.03, 1.03)
        bottom.set_xlabel("false alarms per quiet hour")
        bottom.set_xscale("symlog", linthresh=10.0)
        bottom.set_xlim(-0.5, max(10.0, bottom.get_xlim()[1]))
        bottom.xaxis.set_major_formatter("{x:g}")
        top.legend(fontsize=9.5)
        return svg_of(figure, "alarm curve: delay and misses over false alarms per hour")


def timeline(material: Material) -> str:
    """A stretch of the stream: what is true, what the model says, and the events it announces."""
    stream, manifest = material.stream, material.manifest
    start_s = _busiest(material)
    end_s = min(stream.seconds, start_s + TIMELINE_S)
    labels = list(manifest.events) or list(manifest.labels[:8])
    with canvas(11.0, 2.3 + 0.32 * len(labels), "timeline") as figure:
        bands, curve = figure.subplots(2, 1, sharex=True, height_ratios=(0.7 * len(labels) + 0.5, 3))
        _bands(bands, material, labels, (start_s, end_s))
        inside = (stream.times_s >= start_s) & (stream.times_s <= end_s)
        for label, colour in zip(labels, _colours(labels), strict=True):
            said = stream.answers[inside, manifest.labels.index(label)]
            curve.plot(stream.times_s[inside], said, color=colour, linewidth=1.3, label=f"probability of {label}")
        if len(labels) == 1:
            rule = manifest.events.get(labels[0])
            for level, style in ((rule.enter, "--"), (rule.exit, ":")) if rule else ():
                curve.axhline(level, color=GREY, linewidth=1, linestyle=style)
        curve.set_ylim(-0.03, 1.03)
        curve.set_xlim(start_s, end_s)
        curve.set_ylabel("probability")
        curve.set_xlabel("time in the stream, s")
        curve.legend(loc="upper center", bbox_to_anchor=(0.5, -0.32), ncols=min(4, len(labels)), fontsize=9.5)
        return svg_of(figure, "timeline of the stream: truth, probabilities and detected events")


def _columns(points: Sequence[CurvePoint]) -> tuple[list[float | None], list[float | None]]:
    return [each.delay_median_s for each in points], [each.missed for each in points]


def _bands(axes: Any, material: Material, labels: Sequence[str], span: tuple[float, float]) -> None:
    """For each label a row of truth above a row of detections, false ones in red."""
    false = set(material.alarms.false)
    for row, (label, colour) in enumerate(zip(labels, _colours(labels), strict=True)):
        true = [(a, b) for a, b, name in material.stream.truth.runs if name == label]
        for start_s, end_s in _clipped(true, span):
            axes.barh(2 * row, end_s - start_s, left=start_s, height=0.75, color=colour, alpha=0.45, linewidth=0)
        for index, alarm in enumerate(material.alarms.alarms):
            if alarm.label != label:
                continue
            for start_s, end_s in _clipped([(alarm.start_s, max(alarm.end_s, alarm.start_s + 0.2))], span):
                shade = RED if index in false else colour
                axes.barh(2 * row + 0.8, end_s - start_s, left=start_s, height=0.5, color=shade, linewidth=0)
    rows = [
        (2 * row + shift, name)
        for row, label in enumerate(labels)
        for shift, name in ((0, f"{label}: true"), (0.8, "detected"))
    ]
    axes.set_yticks([at for at, _ in rows], [name for _, name in rows], fontsize=10)
    axes.set_ylim(2 * len(labels) - 0.6, -0.6)
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="both", length=0)


def _busiest(material: Material) -> float:
    """Where a window of the stream holds most beginnings and ends of events and alarms."""
    latest = max(0.0, material.stream.seconds - TIMELINE_S)
    marks = np.array(
        [t for a, b, _ in material.stream.truth.runs for t in (a, b)] + [a.start_s for a in material.alarms.alarms]
    )
    starts = np.append(np.arange(0.0, latest, TIMELINE_S / 5), latest)
    counts = [int(((marks >= start) & (marks < start + TIMELINE_S)).sum()) for start in starts]
    return float(starts[int(np.argmax(counts))])


def _clipped(spans: Sequence[tuple[float, float]], window: tuple[float, float]) -> list[tuple[float, float]]:
    return [(max(a, window[0]), min(b, window[1])) for a, b in spans if b > window[0] and a < window[1]]


def _colours(labels: Sequence[str]) -> list[str]:
    return [GREEN] if len(labels) == 1 else [PALETTE[index % len(PALETTE)] for index in range(len(labels))]


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
