"""What checkpoints cost: time in the loop's thread, time of the writer's thread and bytes, per round of all cameras.

python tools/bench_checkpoints.py --cameras 45 --model scene
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from engines.bundle import load_bundle
from engines.snapshot import Snapshot
from engines.temporal import Temporal
from pipeline.capture.ring import FrameFlag, FrameHeader
from pipeline.capture.supervisor import CapturePlan
from pipeline.config.schema import Continuity
from pipeline.config.source import parse_source
from pipeline.durability.checkpointer import Checkpointer
from pipeline.durability.keeper import Seat, StateKeeper
from pipeline.inference.session import CameraMemory
from pipeline.stream.messages import ModelInfo

_WARM_S = 5.0


@dataclass(eq=False)
class Cameras:
    """Cameras of one model whose features are noise."""

    temporal: Temporal
    memories: list[CameraMemory]
    plans: list[CapturePlan]
    rows: list[int]
    rng: np.random.Generator
    index: int = 0

    @classmethod
    def open(cls, model: str, backend: str, count: int) -> Cameras:
        """So many, each with some seconds of memory."""
        bundle = load_bundle(model)
        seen = bundle.manifest.input
        temporal = Temporal.open(bundle, backend, capacity=count, max_batch=count)
        info = ModelInfo(bundle.name, bundle.manifest.version, bundle.sha, temporal.backend, "f32")
        names = [f"camera{number}" for number in range(count)]
        memories = [CameraMemory(name, bundle.manifest, info, seen.fps, Continuity()) for name in names]
        plans = [CapturePlan(name, parse_source("scene://"), seen.height, seen.width, seen.fps) for name in names]
        rows = [temporal.pool.acquire(name) for name in names]
        cameras = cls(temporal, memories, plans, rows, np.random.default_rng(1))
        for _ in range(round(_WARM_S * seen.fps)):
            cameras.step(seen.fps, bundle.manifest.step_features)
        return cameras

    def step(self, fps: float, shape: tuple[int, ...]) -> None:
        """One frame of each camera."""
        now_ns = time.monotonic_ns()
        head = FrameHeader(self.index, round(self.index / fps * 1e9), 0, now_ns, now_ns, 0, FrameFlag(0))
        self.index += 1
        inputs = [memory.advance(head)[0] for memory in self.memories]
        features = self.rng.random((len(self.rows), *shape), np.float32)
        result = self.temporal.step(self.rows, features, [i.dt_s for i in inputs], [float(i.keep) for i in inputs])
        for memory, step, prob in zip(self.memories, inputs, result.prob, strict=True):
            list(memory.observe(head, step, prob, finite=True))

    def snapshots(self, ages: dict[str, tuple[int, float]]) -> list[Snapshot]:
        """As `ModelRunner.snapshots`."""
        return self.temporal.pool.snapshots(self.rows, list(ages.values()))

    def seats(self) -> list[Seat]:
        """As `LiveCameras` gives them."""
        return [
            Seat(cast("Any", SimpleNamespace(plan=plan, waits=False, coded_size=None)), cast("Any", self), memory)
            for plan, memory in zip(self.plans, self.memories, strict=True)
        ]


def measure(cameras: Cameras, folder: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds per round, and bytes in the files of one."""
    manifest = cameras.memories[0]._manifest
    with Checkpointer(folder, 1.0) as writer:
        keeper = StateKeeper(writer, folder, epoch=1)
        cpu = time.pthread_getcpuclockid(cast("int", writer._thread.ident))
        taken, own, written = [], [], []
        for _ in range(rounds):
            cameras.step(manifest.input.fps, manifest.step_features)
            seats = cameras.seats()
            begun, own_begun, busy = time.perf_counter(), time.thread_time(), time.clock_gettime(cpu)
            keeper.save(seats)
            taken.append(time.perf_counter() - begun)
            own.append(time.thread_time() - own_begun)
            while writer._waiting or writer._busy:
                time.sleep(1e-3)
            written.append(
                (writer._done_s - time.monotonic() + time.perf_counter() - begun, time.clock_gettime(cpu) - busy)
            )
        size = sum(path.stat().st_size for path in folder.glob("*.0.state"))
    return {"loop": taken, "own": own, "wall": [w for w, _ in written], "cpu": [c for _, c in written], "bytes": size}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=45)
    parser.add_argument("--model", default="scene")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where checkpoints are written; else a temporary folder")
    options = parser.parse_args()
    cameras = Cameras.open(options.model, options.backend, options.cameras)
    gc.freeze()  # as `vidpipe run` does
    with tempfile.TemporaryDirectory() as temporary:
        result = measure(cameras, options.folder or Path(temporary), options.rounds)
    print(f"{options.cameras} cameras of {options.model}, {result['bytes'] / 1e3:.0f} kB a round")
    for name, what in (
        ("loop", "in the loop's thread"),
        ("own", "of its CPU"),
        ("wall", "until written"),
        ("cpu", "of the writer's CPU"),
    ):
        values_ms = np.array(result[name]) * 1e3
        p50, p99 = np.percentile(values_ms, [50, 99])
        print(f"  {what:22} median {p50:6.2f} ms   p99 {p99:6.2f} ms   max {values_ms.max():6.2f} ms")


if __name__ == "__main__":
    main()
