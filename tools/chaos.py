"""Every reliability goal with its fault injected for real: fault, expected, measured, verdict.

    python tools/chaos.py --json chaos.json --table docs/reliability.md
    python tools/chaos.py --only R3,R10

Each case starts fake cameras and a `vidpipe run` of its own and waits for events, never for longer than a limit. Limits
of time are judged as they stand, so run it on a machine that has nothing else to do; the load is noted. Ends with 1
where a verdict is `fail`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import msgspec
import psutil
from faults.bench import Bench
from faults.chaos_table import replace_table
from faults.rig import leave_in_order
from faults.verdict import Case, Finding, Row

CASES = (
    "r01_away_at_start",
    "r02_hang_up",
    "r03_stall",
    "r04_no_packet",
    "r05_damage",
    "r06_resize",
    "r07_frozen",
    "r08_clock",
    "r09_password",
    "r10_capture_dies",
    "r11_overload",
    "r12_stuck_subscriber",
    "r13_publisher_dies",
    "r14_killed",
    "r15_terminated",
    "r16_reload",
    "r17_disk_full",
    "r18_wall_clock",
    "r19_leak",
)


class Result(msgspec.Struct, frozen=True):
    """All rows, and what the machine was doing otherwise."""

    rows: list[Row]
    minutes: float
    earlier: int
    cores: int
    load_before: float
    load_after: float


def main() -> None:
    """Run the cases, print and write the table."""
    leave_in_order()
    arguments = _arguments()
    wanted = set(filter(None, arguments.only.upper().split(",")))
    cases = [case for case in map(_case, CASES) if not wanted or case.id in wanted]
    result = _run_all(cases, arguments)
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(result.rows), indent=1))
    if arguments.table:
        replace_table(arguments.table, result.rows, _circumstances(result))
    print(_circumstances(result))
    sys.exit(any(row.verdict == "fail" for row in result.rows))


def _case(module: str) -> Case:
    case: Case = import_module(f"faults.cases.{module}").CASE
    return case


def _run_all(cases: Sequence[Case], arguments: argparse.Namespace) -> Result:
    began_s, load = time.monotonic(), psutil.getloadavg()[0]
    rows = _earlier(arguments.rows)
    with tempfile.TemporaryDirectory(prefix="vidpipe-chaos-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), seed=arguments.seed, soak=arguments.soak, capture=arguments.capture)
        beside = [threading.Thread(target=_keep, args=(case, bench, rows)) for case in cases if case.quiet]
        for thread in beside:
            thread.start()
        for case in cases:
            if not case.quiet:
                _keep(case, bench, rows)
        for thread in beside:
            thread.join()
    minutes = (time.monotonic() - began_s) / 60
    ordered = [rows[name] for name in sorted(rows, key=lambda name: int(name[1:]))]
    earlier = len(rows) - len(cases)
    return Result(ordered, minutes, earlier, psutil.cpu_count() or 1, load, psutil.getloadavg()[0])


def _earlier(path: Path | None) -> dict[str, Row]:
    """The rows of an earlier run."""
    return {row.id: row for row in msgspec.json.decode(path.read_bytes(), type=list[Row])} if path else {}


def _keep(case: Case, bench: Bench, rows: dict[str, Row]) -> None:
    began_s = time.monotonic()
    print(f"{case.id}: {case.fault} ...", flush=True)
    finding = _attempt(case, bench)
    took_s = time.monotonic() - began_s
    rows[case.id] = Row(case.id, case.fault, case.expected, finding.measured, finding.verdict, round(took_s, 1))
    print(f"{case.id}: {finding.verdict} after {took_s:.0f} s: {finding.measured}", flush=True)


def _attempt(case: Case, bench: Bench) -> Finding:
    try:
        return case.run(bench)
    except Exception as error:  # noqa: BLE001 - one case must not end the others
        traceback.print_exc()
        return Finding(f"the case itself failed: {type(error).__name__}: {error}", "fail")


def _circumstances(result: Result) -> str:
    verdicts = [row.verdict for row in result.rows]
    counts = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in ("pass", "fail", "not run"))
    earlier = f" ({result.earlier} of them in an earlier run)" if result.earlier else ""
    return (
        f"{len(result.rows)} faults{earlier} in {result.minutes:.1f} min: {counts}. {result.cores} cores; "
        f"load average {result.load_before:.1f} before and {result.load_after:.1f} after"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="R3,R10", help="these goals only")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the rows")
    parser.add_argument("--table", type=Path, metavar="MARKDOWN", help="put the table between the marks in this file")
    parser.add_argument("--rows", type=Path, metavar="JSON", help="rows of an earlier run, for the goals not run now")
    parser.add_argument("--soak", type=Path, metavar="JSON", help="what tools/soak.py wrote of a long run, for R19")
    parser.add_argument("--capture", choices=("opencv", "pyav"), default="opencv", help="what reads the cameras")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
