"""Many RTSP cameras through one pipeline: conservation of frames, latency to the subscriber, CPU and memory.

    python tools/bench_cameras.py --cameras 8 --seconds 300

The cameras are `vidpipe fakecam` serving the video of `vidpipe bench` at 15 frames/s in a process of its own; its CPU
time is shown apart. Latency is from `grab()` in the capture process to `receive()` in this subscriber, on one machine's
clock.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.bench.live import FakeCameras, fake_cameras, live_run
from pipeline.bench.usage import Cores, Memory, Meter, cores_between
from pipeline.bench.video import record_scene
from pipeline.stream.messages import Prediction, Status
from pipeline.stream.subscriber import Subscriber

_JOIN_S = 10.0


def main() -> None:
    """Run once and print the figures."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        video = record_scene(Path(folder) / "scene.mp4", fps=round(arguments.fps))
        with fake_cameras(video, "--cameras", arguments.cameras) as urls:
            _measure(urls, arguments)


def _measure(urls: FakeCameras, arguments: argparse.Namespace) -> None:
    latencies: list[float] = []
    last: dict[str, Status] = {}
    with (
        live_run(urls, model=arguments.model, backend=arguments.backend) as run,
        Subscriber(run.address, kinds=["clip", "status"]) as subscriber,
    ):
        _listen(subscriber, time.monotonic() + _JOIN_S, [], last)
        meter = Meter(run.process, urls.process)
        before = meter.read()
        _listen(subscriber, time.monotonic() + arguments.seconds, latencies, last)
        cores, memory = cores_between(before, meter.read()), meter.memory()
        lost = subscriber.missed
    _report(latencies, last, cores, memory)
    print(f"messages lost on the way: {lost}")


def _listen(subscriber: Subscriber, until_s: float, latencies: list[float], last: dict[str, Status]) -> None:
    while (left_s := until_s - time.monotonic()) > 0:
        message = subscriber.receive(left_s)
        if isinstance(message, Prediction):
            latencies.append((time.time_ns() - message.captured_at) / 1e6)
        elif isinstance(message, Status):
            last[message.camera] = message


def _report(latencies: list[float], last: dict[str, Status], cores: Cores, memory: Memory) -> None:
    print("camera  grabbed     due  processed  thinned  overrun  in flight  damaged  balance")
    for name, status in sorted(last.items()):
        c = status.counts
        balance = c.due - c.processed - c.thinned - c.overrun - c.in_flight
        first = f"{name:6} {c.grabbed:8d} {c.due:7d} {c.processed:10d} {c.thinned:8d} {c.overrun:8d}"
        print(f"{first} {c.in_flight:10d} {c.damaged:8d} {balance:8d}")
    p50, p99 = np.percentile(latencies, [50, 99])
    print(f"clips {len(latencies)}; from capture to subscriber p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    print(
        f"CPU: {cores.pipeline:.2f} cores, of that capture {cores.capture:.2f}; fake cameras {cores.fake_cameras:.2f}"
    )
    print(f"memory: {memory.total_mib:.0f} MiB PSS in all, {memory.per_capture_mib:.0f} MiB per capture process")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--model", default="scene", help="a bundle's name or folder")
    parser.add_argument("--backend", default="auto")
    return parser.parse_args()


if __name__ == "__main__":
    main()
