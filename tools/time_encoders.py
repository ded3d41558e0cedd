"""Milliseconds per frame of bundles' encoders on each back end and precision, interleaved in one run.

    python tools/time_encoders.py models/lite0 models/mobilenet --seconds 20

The machine's speed drifts within minutes, so only figures of one run can be compared. `best` is the fastest of all
rounds, `median` what half of them reach.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from engines.bundle import load_bundle
from engines.encoder import Encoder

VARIANTS = (("openvino", "f32"), ("openvino", "bf16"), ("onnxruntime", "f32"))
WAYS = ((1, 1), (8, 1), (8, 2))  # frames in a batch, requests in flight
REPEATS = 5


def main() -> None:
    """Measure and print one line for each encoder, back end and way of feeding it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    arguments = parser.parse_args()
    rounds: dict[tuple[str, str, str, int, int], Callable[[], float]] = {}
    for name in arguments.bundles:
        bundle = load_bundle(name)
        for backend, precision in VARIANTS:
            encoder = Encoder.open(bundle, backend, max_batch=8, requests=2, precision=precision)
            for batch, flying in WAYS:
                rounds[bundle.name, backend, encoder.precision, batch, flying] = timed(encoder, batch, flying)
    found = measure(rounds, arguments.seconds)
    print("encoder       back end     arithmetic  batch  in flight   best ms/frame   median ms/frame")
    for (name, backend, precision, batch, flying), times in found.items():
        best, median = min(times), statistics.median(times)
        print(f"{name:13} {backend:12} {precision:10}  {batch:5}  {flying:9}   {best:13.2f}   {median:15.2f}")
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, {REPEATS} batches a round")


def timed(encoder: Encoder, batch: int, flying: int) -> Callable[[], float]:
    """A round of `REPEATS` batches per request in flight: milliseconds a frame."""
    rng = np.random.default_rng(0)
    for request in range(flying):
        frames = encoder.frames(request)
        frames[:] = rng.integers(0, 256, frames.shape, np.uint8)

    def run() -> float:
        since = time.perf_counter()
        for request in range(flying):
            encoder.start(request, batch)
        for _ in range(REPEATS - 1):
            for request in range(flying):
                encoder.wait(request)
                encoder.start(request, batch)
        for request in range(flying):
            encoder.wait(request)
        return (time.perf_counter() - since) * 1e3 / (REPEATS * flying * batch)

    return run


def measure(
    rounds: dict[tuple[str, str, str, int, int], Callable[[], float]], seconds: float
) -> dict[tuple[str, str, str, int, int], list[float]]:
    """All rounds in turn, again and again, after one to warm up."""
    for run in rounds.values():
        run()
    found = defaultdict(list)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for key, run in rounds.items():
            found[key].append(run())
    return dict(found)


if __name__ == "__main__":
    main()
