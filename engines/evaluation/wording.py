"""Results in words, the same on the terminal and in the report."""

from __future__ import annotations

from engines.evaluation.record import Agreement, Evaluation, StreamScore

TITLES = {
    "accuracy": "clip accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "map": "macro mAP, clips",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
    "frame_map": "mAP, frames",
    "frame_cap": "calibrated mAP (cAP), frames",
    "interval_accuracy": "accuracy of marked intervals",
    "recall_head": "macro recall, frequent labels",
    "recall_mid": "macro recall, middle labels",
    "recall_tail": "macro recall, rare labels",
    "event_f1_tiou_0.1": "event F1 at tIoU 0.1",
    "event_f1_tiou_0.3": "event F1 at tIoU 0.3",
    "event_f1_tiou_0.5": "event F1 at tIoU 0.5",
    "event_f1_within_1_s": "event F1, start within 1 s",
    "event_f1_within_3_s": "event F1, start within 3 s",
    "delay_median_s": "detection delay, median, s",
    "delay_p90_s": "detection delay, 90th percentile, s",
    "missed_events": "events missed, share",
    "false_alarms_per_hour": "false alarms per quiet hour",
    "quiet_in_alarm": "quiet time under alarm, share",
}
"""What tables call each figure."""


def data_text(found: Evaluation) -> str:
    """What was judged."""
    data = found.data
    split = f"split {data.split}" if data.split else "every row"
    counts = ", ".join(f"{count} {label}" for label, count in data.clips_of.items())
    skipped = f"; {len(data.skipped)} files skipped" if data.skipped else ""
    return (
        f"{data.origin}, {split}: {data.videos} videos, {data.clips} clips ({counts}), {data.seconds:.0f} s of video"
        f"{skipped}. A clip is {data.unit}."
    )


def interval_text(found: Evaluation) -> str:
    """How the intervals came about."""
    what = "groups" if found.data.grouped else "videos (no groups were given)"
    return f"Intervals: 95 %, {found.draws} bootstrap draws of {found.data.groups} {what}, seed {found.seed}."


def stream_text(stream: StreamScore) -> str:
    """What the event figures are about."""
    how = (
        "all videos one after the other in an order drawn by the seed, the state carried over every cut"
        if stream.joined
        else "each video on its own from a fresh state, shown one after the other"
    )
    return (
        f"{stream.seconds:.0f} s of stream: {how}. {_count(stream.events, 'event')}, {stream.missed} of them missed; "
        f"{_count(stream.alarms, 'alarm')}, {stream.false_alarms} of them false, in {stream.quiet_seconds:.0f} s of "
        "quiet (labelled, without an event, more than a clip after the last one)."
    )


def agreement_text(agreement: Agreement) -> str:
    """Stream mode against whole-sequence mode."""
    if not agreement.compared:
        return f"Stream and whole-sequence mode: not compared: {agreement.why}."
    verdict = "agree" if agreement.within_limit and agreement.figures_equal else "DISAGREE"
    decisions = "the same decisions" if agreement.same_decisions else f"{agreement.decisions_changed} other decisions"
    return (
        f"Stream and whole-sequence mode {verdict}: largest difference {agreement.largest_difference:.1e} over "
        f"{agreement.steps} steps, {decisions}, figures at most {agreement.largest_figure_difference:.1e} apart."
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
