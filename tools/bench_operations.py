"""What it costs to be watched: the monitor's CPU time for many cameras, a clip and a heartbeat each a second."""

from __future__ import annotations

import argparse
import time
import urllib.request
from collections.abc import Callable

from pipeline.operations.metrics import Gauges
from pipeline.operations.monitor import Monitor
from pipeline.stream.messages import ClipSpan, Counts, Message, ModelInfo, Prediction, StateInfo, Status

_ROUNDS = 200
_PAGES = 30
_LATENCY_US = {"capture": 150, "queue": 1_000, "encode": 4_000, "step": 850, "total": 6_000}


def heartbeat(camera: str) -> Message:
    counts = Counts(grabbed=900_000, due=300_000, processed=299_990, thinned=6, overrun=2, in_flight=2, connections=3)
    return Status(
        camera=camera,
        epoch=7,
        seq=1,
        state="running",
        counts=counts,
        frame_age_s=0.1,
        resets={"start": 1, "gap": 2},
        reconnects={"lost": 2},
        last_seq={"clip": 60_000, "event": 400},
    )


def clip(camera: str) -> Message:
    return Prediction(
        camera=camera,
        epoch=7,
        seq=1,
        clip=ClipSpan(0, 0.0, 2.0, 10),
        model=ModelInfo("scene", "1.0.0", "ab" * 32, "openvino", "f32"),
        state=StateInfo(10, 2.0, warm=True, reset_reason="start"),
        label="idle",
        scores={"idle": 0.9, "passing": 0.1},
        latency=_LATENCY_US,
    )


def cpu_s(act: Callable[[], object], times: int) -> float:
    """CPU seconds of this thread for one call."""
    before_s = time.thread_time()
    for _ in range(times):
        act()
    return (time.thread_time() - before_s) / times


def observe_all(monitor: Monitor, messages: list[Message]) -> None:
    for message in messages:
        monitor.observe(message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=45)
    cameras = [f"camera{number}" for number in range(parser.parse_args().cameras)]
    gauges = Gauges(2, 0, 0.5, 3, {"checkpoint": "", "journal": ""})
    with Monitor("127.0.0.1:0", gauges=lambda: gauges) as monitor:
        heartbeats, clips = [heartbeat(name) for name in cameras], [clip(name) for name in cameras]
        beats_s = cpu_s(lambda: observe_all(monitor, heartbeats), _ROUNDS)
        clips_s = cpu_s(lambda: observe_all(monitor, clips), _ROUNDS)
        second_s = cpu_s(monitor.beat, _ROUNDS)
        before_s = time.process_time()
        for _ in range(_PAGES):
            page = urllib.request.urlopen(f"http://{monitor.address}/metrics").read()
        page_s = (time.process_time() - before_s) / _PAGES
    beat_us, clip_us = (seconds / len(cameras) * 1e6 for seconds in (beats_s, clips_s))
    print(
        f"{len(cameras)} cameras: status {beat_us:.1f} us, clip {clip_us:.1f} us, each second {second_s * 1e6:.1f} us"
    )
    print(f"page {len(page)} bytes in {page_s * 1e3:.1f} ms with its client")
    loop = 100 * (beats_s + clips_s + second_s)
    print(f"of a core: {loop:.3f} % in the loop, {100 * page_s / 15:.3f} % at a scrape each 15 s")


if __name__ == "__main__":
    main()
