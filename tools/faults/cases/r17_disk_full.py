"""R17: the disk with the state is full, then read-only."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.bench import Bench, Stage
from faults.verdict import Case, Checks, Finding
from pipeline.stream.messages import Status

_MEBIBYTES = 8


def run(bench: Bench) -> Finding:
    """State on a small file system of its own: fill it, free it, cover it by one that is read-only, and uncover it."""
    folder = bench.own_folder()
    if os.geteuid() != 0 or not _can_mount(folder):
        return Finding("mounting a small file system needs root", "not run")
    checks, state = Checks(), folder / "state"
    with _mounted(folder), bench.stage(2, state={"folder": str(state)}) as stage:
        stage.ear.listen(3.0)
        filler = folder / "filler"
        _trouble(stage, checks, "full", state, hurt=lambda: _fill(filler), heal=filler.unlink)
        _trouble(stage, checks, "read-only", state, hurt=lambda: _cover(state), heal=lambda: _uncover(state))
        checks.equal("messages lost", stage.ear.missed, 0)
        code, _ = stage.rig.stop()
        checks.equal("exit code", code, 0)
    return checks.finding()


def _trouble(stage: Stage, checks: Checks, name: str, state: Path, *, hurt: object, heal: object) -> None:
    begun_s = time.monotonic()
    hurt()  # type: ignore[operator]
    alarm = stage.ear.wait(lambda m: isinstance(m, Status) and bool(m.alarms), 20.0, since_s=begun_s)
    stage.ear.listen(5.0)
    clips = len(stage.ear.clips(since_s=begun_s))
    lasted_s = time.monotonic() - begun_s
    # without the folder, which is of this run alone: the table is for readers elsewhere
    said = {
        text.replace(f"{state}/", "") for _, status in stage.ear.statuses("cam0", begun_s) for text in status.alarms
    }
    checks.at_most(
        f"{name}: alarm ({'; '.join(sorted(said)) or 'none'}) after",
        alarm.published_s - begun_s if alarm else None,
        10.0,
    )
    expected = 2 * int(lasted_s - 1)
    checks.that(f"{name}: {clips} clips in {lasted_s:.0f} s", met=clips >= expected, limit=f"{expected}")
    healed_s = time.monotonic()
    heal()  # type: ignore[operator]
    well = stage.ear.wait(lambda m: isinstance(m, Status) and not m.alarms, 30.0, since_s=healed_s)
    checks.at_most(f"{name}: alarm gone after", well.published_s - healed_s if well else None, 30.0)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def _cover(folder: Path) -> None:
    """Mount an empty read-only file system over the folder: files that are open stay, new ones cannot be made."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], check=True)


def _uncover(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True)


def _can_mount(folder: Path) -> bool:
    with _mounted(folder) as mounted:
        return mounted


@contextmanager
def _mounted(folder: Path) -> Iterator[bool]:
    command = ["mount", "-t", "tmpfs", "-o", f"size={_MEBIBYTES}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


CASE = Case("R17", "disk full, disk read-only", "inference goes on, an alarm says so, and it heals", run)
