"""Overload: more cameras than the machine carries, and whether their frames are thinned evenly and truthfully.

    python tools/bench_overload.py --model DIR --rate 8 --capacity 40 --seconds 60

Runs twice the capacity and says, of each camera: frames due, processed and dropped; how even the gaps between processed
frames are, counted in sampling cells (a gap of 2 means every second due frame); and the rate that the messages report
beside the true one. `pipeline/inference` is watched where it takes a frame in, so the gaps are those of the model.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from engines.sampling_grid import sampling_cell
from pipeline.bench.live import fake_cameras, live_run
from pipeline.bench.usage import Meter, cores_between
from pipeline.bench.video import own_video, scene_video
from pipeline.stream.messages import Prediction, Status
from pipeline.stream.subscriber import Subscriber

_LOG = "VIDPIPE_OVERLOAD_LOG"
_WATCHED = (
    sys.executable,
    "-c",
    f"""
import json, os
from pipeline.cli.main import main
from pipeline.inference.session import CameraMemory
frames, advance = [], CameraMemory.advance
def noted(self, header):
    frames.append((self.camera, header.media_ns / 1e9))
    return advance(self, header)
CameraMemory.advance = noted
try:
    main()
finally:
    with open(os.environ["{_LOG}"], "w") as log:
        json.dump(frames, log)
""",
)


def main() -> None:
    """Run once and print the figures."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        video = own_video(arguments.video) if arguments.video else scene_video(Path(folder))
        log = Path(folder) / "frames.json"
        os.environ[_LOG] = str(log)
        heard = _run(video.path, arguments)
        frames = json.loads(log.read_text())
    report = _sum_up(heard, frames, arguments)
    if arguments.json:
        print(json.dumps(report))
    else:
        _show(report)


def _run(video: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What the subscriber heard after the settling time, and the cores in use."""
    clips: list[tuple[int, Prediction]] = []
    settings = {"model": arguments.model, "precision": arguments.precision, "rate_hz": arguments.rate}
    with (
        fake_cameras(video, "--cameras", arguments.cameras) as cameras,
        live_run(cameras, program=_WATCHED, **settings) as run,
        Subscriber(run.address, kinds=["clip", "status"]) as subscriber,
    ):
        _listen(subscriber, _all_up(subscriber, arguments), [])
        before = _listen(subscriber, 1.2, [])
        meter = Meter(run.process, cameras.process)
        first = meter.read()
        after = _listen(subscriber, arguments.seconds, clips)
        cores = cores_between(first, meter.read())
    return {"clips": clips, "before": before, "after": after, "cores": cores}


def _all_up(subscriber: Subscriber, arguments: argparse.Namespace) -> float:
    """Wait until every camera has given a clip; the settling time that then remains."""
    seen: set[str] = set()
    deadline_s = time.monotonic() + 120 + arguments.cameras
    while len(seen) < arguments.cameras:
        message = subscriber.receive(1.0)
        if isinstance(message, Prediction):
            seen.add(message.camera)
        if time.monotonic() > deadline_s:
            sys.exit(f"only {len(seen)} of {arguments.cameras} cameras came up")
    settle_s: float = arguments.settle
    return settle_s


def _listen(subscriber: Subscriber, seconds: float, clips: list[tuple[int, Prediction]]) -> dict[str, Status]:
    """Gather clips with their times of arrival for so long; the last status of each camera."""
    last: dict[str, Status] = {}
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        message = subscriber.receive(left_s)
        if isinstance(message, Prediction):
            clips.append((time.time_ns(), message))
        elif isinstance(message, Status):
            last[message.camera] = message
    return last


def _sum_up(
    heard: dict[str, Any], frames: Sequence[tuple[str, float]], arguments: argparse.Namespace
) -> dict[str, Any]:
    media: dict[str, list[float]] = defaultdict(list)
    for camera, media_s in frames:
        media[camera].append(media_s)
    clips: dict[str, list[Prediction]] = defaultdict(list)
    for _, clip in heard["clips"]:
        clips[clip.camera].append(clip)
    delays_ms = [(arrived_ns - clip.captured_at) / 1e6 for arrived_ns, clip in heard["clips"]]
    each = {
        name: _camera(heard["before"][name], last, clips[name], media[name], arguments.rate)
        for name, last in sorted(heard["after"].items(), key=lambda item: int(item[0].removeprefix("cam")))
        if name in heard["before"]
    }
    p50, p99 = np.percentile(delays_ms, [50, 99]).tolist()
    cores = heard["cores"]
    return {
        "cameras": arguments.cameras,
        "rate_hz": arguments.rate,
        "seconds": arguments.seconds,
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": max(delays_ms),
        "cores": {name: getattr(cores, name) for name in cores.__struct_fields__},
        "each": each,
    }


def _camera(
    first: Status, last: Status, clips: list[Prediction], media_s: list[float], rate_hz: float
) -> dict[str, Any]:
    """One camera's counts, gaps and rates between two of its heartbeats."""
    inside = [time_s for time_s in media_s if first.media_time <= time_s <= last.media_time]
    gaps = np.diff([sampling_cell(time_s, rate_hz) for time_s in inside])
    counts = {
        name: getattr(last.counts, name) - getattr(first.counts, name)
        for name in ("grabbed", "due", "processed", "thinned", "overrun")
    }
    seconds = (last.published_at - first.published_at) / 1e9
    said = [clip.clip.fps_effective for clip in clips]
    true = [sum(c.clip.start <= t < c.clip.end for t in media_s) / (c.clip.end - c.clip.start) for c in clips]
    return {
        **counts,
        "true_fps": counts["processed"] / seconds,
        "fps_effective": float(np.mean(said)) if said else None,
        "fps_effective_worst_error": float(np.max(np.abs(np.subtract(said, true)))) if said else None,
        "gap_median": float(np.median(gaps)) if len(gaps) else None,
        "gaps": {int(gap): int(number) for gap, number in zip(*np.unique(gaps, return_counts=True), strict=True)},
        "within_one_cell": float(np.mean(np.abs(gaps - np.median(gaps)) <= 1)) if len(gaps) else None,
    }


def _show(report: dict[str, Any]) -> None:
    each = report["each"]
    title = f"{report['cameras']} cameras sampled at {report['rate_hz']:g} frames/s for {report['seconds']:g} s"
    table = Table(
        "", "due", "processed", "thinned", "overrun", "true/s", "said/s", "gaps (cells: times)", "even", title=title
    )
    for name, one in each.items():
        counts = [str(one[kind]) for kind in ("due", "processed", "thinned", "overrun")]
        gaps = ", ".join(f"{gap}: {number}" for gap, number in one["gaps"].items())
        rates = (f"{one['true_fps']:.2f}", _two(one["fps_effective"]))
        table.add_row(name, *counts, *rates, gaps, _two(one["within_one_cell"]))
    console = Console(width=140) if not sys.stdout.isatty() else Console()
    console.print(table)
    rates_hz = [one["true_fps"] for one in each.values()]
    even = [one["within_one_cell"] for one in each.values() if one["within_one_cell"] is not None]
    errors = [one["fps_effective_worst_error"] for one in each.values() if one["fps_effective_worst_error"] is not None]
    late = ", ".join(f"{name} {report[f'{name}_ms']:.0f} ms" for name in ("p50", "p99", "max"))
    print(f"grab to subscriber: {late}")
    print(f"rate per camera: {min(rates_hz):.2f} to {max(rates_hz):.2f} frames/s, mean {np.mean(rates_hz):.2f}")
    print(f"gaps within one cell of the camera's median: {np.mean(even):.3f} on average, {min(even):.3f} at worst")
    print(f"fps_effective of a clip: at most {max(errors):.2f} frames/s off the frames that the model saw in it")
    print("cores: " + ", ".join(f"{name} {cores:.2f}" for name, cores in report["cores"].items()))


def _two(number: float | None) -> str:
    return "-" if number is None else f"{number:.2f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scene", help="a bundle's name or folder")
    parser.add_argument("--video", type=Path, help="a recording (H.264 without B frames); else the test scene")
    parser.add_argument("--rate", type=float, default=5.0, help="samples a second of each camera")
    number = parser.add_mutually_exclusive_group(required=True)
    number.add_argument("--capacity", type=int, help="what vidpipe bench found; twice as many cameras are run")
    number.add_argument("--cameras", type=int, help="or so many cameras, as they are")
    parser.add_argument("--precision", default="auto", help="of the encoder")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the measurement")
    parser.add_argument(
        "--settle", type=float, default=20.0, help="seconds from the last camera's first clip to its begin"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    arguments = parser.parse_args()
    arguments.cameras = arguments.cameras or 2 * arguments.capacity
    return arguments


if __name__ == "__main__":
    main()
