"""What every experiment shares: its options, the machine it ran on, and its result as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded: one thread, whatever runs beside

import torch

STARTED = time.monotonic()


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """The options of an experiment whose module says `doc`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result there, too")
    parser.add_argument("--quick", action="store_true", help="a small version: seconds, not minutes")
    torch.set_num_threads(1)
    return parser


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows in Markdown; numbers with three digits after the point."""
    lines = [header, ["---"] * len(header), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(cell: object) -> str:
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def finish(chosen: argparse.Namespace, figures: Mapping[str, object], text: str) -> None:
    """Print the result and, where `--json` says so, write it."""
    seconds = time.monotonic() - STARTED
    print(f"\n{text}\n\n{machine()}, {seconds:.0f} s")
    if chosen.json is None:
        return
    script = Path(sys.argv[0]).name
    given = [argument for argument in sys.argv[1:] if argument == "--quick"]
    record = {
        "experiment": Path(script).stem,
        "command": " ".join(["python", f"tools/experiments/{script}", *given]),
        "machine": machine(),
        "seconds": round(seconds, 1),
        "figures": dict(figures),
    }
    chosen.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def machine() -> str:
    """What the figures depend on, in a few words; no names of hosts."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{processor()}, {torch.get_num_threads()} thread, {versions}"


def processor() -> str:
    """The processor's model as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.machine())
