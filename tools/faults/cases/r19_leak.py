"""R19: does it grow?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from faults.bench import Bench
from faults.soak_report import Report
from faults.verdict import Case, Finding

_SOAK = Path(__file__).parents[2] / "soak.py"
_SHOWN = ("main RSS, MiB", "main heap and stacks, MiB", "main descriptors", "main threads")
_ENOUGH_RECONNECTS, _ENOUGH_S = 300, 3600.0


def run(bench: Bench) -> Finding:
    """What a long run of tools/soak.py found; without one, a short run, which allows no verdict on a slope."""
    if bench.soak is not None:
        return _judge(msgspec.json.decode(bench.soak.read_bytes(), type=Report))
    out = bench.own_folder() / "soak.json"
    command = [sys.executable, str(_SOAK), "--minutes", "1.5", "--reconnects", "30", "--json", str(out)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if not out.exists():
        return Finding(f"the soak ended early: {result.stderr[-300:]}", "fail")
    report = msgspec.json.decode(out.read_bytes(), type=Report)
    failed = [each.question for each in report.verdicts if each.verdict == "fail"]
    found = _judge(report).measured
    return Finding(f"{found}; too short for a slope: give --soak JSON of a long run", "fail" if failed else "not run")


def _judge(report: Report) -> Finding:
    slopes = "; ".join(f"{name} {report.slopes[name].per_hour:+.2f} per hour" for name in _SHOWN)
    failed = [each.question for each in report.verdicts if each.verdict == "fail"]
    unclear = [each.question for each in report.verdicts if each.verdict == "unclear"]
    setting = report.setting
    measured = (
        f"{setting.seconds / 60:g} min, {setting.cameras} cameras, {report.reconnects} reconnects, "
        f"{report.missed} messages lost: {slopes}"
    )
    if failed or unclear:
        measured += f"; failed: {', '.join(failed) or 'none'}; unclear: {', '.join(unclear) or 'none'}"
    enough = setting.seconds >= _ENOUGH_S and report.reconnects >= _ENOUGH_RECONNECTS
    good = report.slopes["main RSS, MiB"].per_hour <= 1.0 and not failed
    return Finding(measured, ("pass" if good else "fail") if enough else "not run")


CASE = Case(
    "R19",
    "leak (hours of reconnects)",
    "RSS grows by at most 1 MiB an hour after the warm-up, descriptors and threads flat, 300 reconnects or more",
    run,
)
