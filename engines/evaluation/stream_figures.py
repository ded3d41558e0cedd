"""The figures of alarms on the joined stream, by name."""

from __future__ import annotations

from engines.evaluation.alarms import OVERLAPS, TOLERANCES_S, AlarmStream
from engines.evaluation.metrics import undefined
from engines.evaluation.resampling import Figure, Metric
from engines.manifest import Manifest


def stream_metrics(alarms: AlarmStream, manifest: Manifest) -> dict[str, Metric]:
    """Event F1 by overlap and by seconds, delay, misses and false alarms; undefined without event rules."""
    found: dict[str, Metric] = {f"event_f1_tiou_{least:g}": alarms.f1(overlap=least) for least in OVERLAPS}
    found |= {f"event_f1_within_{least_s:g}_s": alarms.f1(tolerance_s=least_s) for least_s in TOLERANCES_S}
    found |= {
        "delay_median_s": alarms.delay_s(0.5),
        "delay_p90_s": alarms.delay_s(0.9),
        "missed_events": alarms.missed(),
        "false_alarms_per_hour": alarms.false_per_hour(),
        "quiet_in_alarm": alarms.quiet_in_alarm(),
    }
    return found if manifest.events else dict.fromkeys(found, undefined("the bundle has no event rules"))


def bounded(rate: Figure, quiet_s: float) -> Figure:
    """A rate of 0 per hour with the upper bound that drawing groups cannot give: 3 in the time watched.

    The rule of three (Hanley & Lippman-Hand 1983, JAMA 249:1743).
    """
    if rate.value != 0 or quiet_s <= 0:
        return rate
    return Figure(0.0, 0.0, 3.0 * 3600.0 / quiet_s, "none seen: the upper bound is 3 in the quiet time")
