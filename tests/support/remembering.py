"""Cameras whose frames are made from their numbers, stepped and remembered as vidpipe does; and processes to be killed.

Run as a program it loads the model once and then, for each line `DELAY_US` on stdin, forks a process that goes on from
the checkpoints in the folder, kills it after the delay, and answers with what that process had written by then.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from engines.bundle import Bundle, load_bundle
from engines.temporal import Temporal
from pipeline.capture.ring import FrameFlag, FrameHeader
from pipeline.capture.supervisor import CapturePlan
from pipeline.config.schema import Continuity
from pipeline.config.source import parse_source
from pipeline.durability.checkpointer import Checkpointer
from pipeline.durability.files import CheckpointFiles
from pipeline.durability.format import decode_checkpoint
from pipeline.durability.keeper import Seat, StateKeeper
from pipeline.inference.session import CameraMemory
from pipeline.stream.messages import Message, ModelInfo

CAMERAS = ("camera0", "camera1", "camera2")
_PERIOD_NS = 200_000_000
_FEATURES = 97  # different pictures; the frames go through them at random


def index_of(media_ns: int) -> int:
    """The number of the frame at a media time."""
    return media_ns // _PERIOD_NS


def header(camera: int, index: int) -> FrameHeader:
    """Frame `index`: a little early or late, now and then after drops, damaged or behind a clock that jumped."""
    rng = np.random.default_rng((camera, index))
    flags = FrameFlag.DAMAGED if rng.random() < 0.02 else FrameFlag(0)
    flags |= FrameFlag.JUMPED if rng.random() < 0.004 else FrameFlag(0)
    media_ns = index * _PERIOD_NS + int(rng.integers(0, 30_000_000))
    return FrameHeader(0, media_ns, 0, time.monotonic_ns(), 0, int(rng.random() < 0.05), flags)


class Rig:
    """One model and its cameras, without capture, encoder and publisher."""

    def __init__(self, bundle: Bundle, cameras: tuple[str, ...] = CAMERAS, backend: str = "onnxruntime") -> None:
        self.manifest = bundle.manifest
        self._temporal = Temporal.open(bundle, backend, capacity=len(cameras))
        self._rows = {name: self._temporal.pool.acquire(name) for name in cameras}
        info = ModelInfo(bundle.name, "1", bundle.sha, backend, "f32")
        policy = Continuity(gap="keep")
        self.memories = {n: CameraMemory(n, self.manifest, info, self.manifest.input.fps, policy) for n in cameras}
        shape = (_FEATURES, *self.manifest.step_features)
        self._features = np.random.default_rng(5).normal(0.5, 2.0, shape).astype(np.float32)

    def plan(self, name: str) -> CapturePlan:
        seen = self.manifest.input
        return CapturePlan(name, parse_source("scene://"), seen.height, seen.width, seen.fps)

    def snapshots(self, ages):
        """As `ModelRunner.snapshots`."""
        return self._temporal.pool.snapshots([self._rows[name] for name in ages], list(ages.values()))

    def seats(self) -> list[Seat]:
        cameras = {name: SimpleNamespace(plan=self.plan(name), waits=False, coded_size=None) for name in self.memories}
        return [Seat(cameras[name], self, memory) for name, memory in self.memories.items()]

    def restore(self, keeper: StateKeeper) -> int:
        """Recall what the keeper has; the frame after the remembered one, the same for all cameras."""
        following = set()
        for name, memory in self.memories.items():
            restored = keeper.restore(self.plan(name), self.manifest, memory)
            if restored is not None:
                self._temporal.pool.restore(self._rows[name], restored.snapshot)
            following.add(index_of(restored.resume[0]) + 1 if restored else 0)
        return self.align(following)

    def align(self, following: set[int]) -> int:
        """Files are written one after the other: a camera that is behind takes its frames alone."""
        last = max(following)
        for camera, memory in enumerate(self.memories.values()):
            for index in range(index_of(memory.remember().last.media_ns) + 1 if memory.session else 0, last):
                self._step([camera], index)
        return last

    def step(self, index: int) -> list[Message]:
        """One frame of each camera; what they say."""
        return self._step(range(len(self.memories)), index)

    def _step(self, cameras, index: int) -> list[Message]:
        names = [list(self.memories)[camera] for camera in cameras]
        headers = [header(camera, index) for camera in cameras]
        advanced = [self.memories[name].advance(head) for name, head in zip(names, headers, strict=True)]
        said = [message for _, ended in advanced for message in ended]
        picks = [np.random.default_rng((camera, index // 4)).integers(_FEATURES) for camera in cameras]
        dt, keep = [step.dt_s for step, _ in advanced], [float(step.keep) for step, _ in advanced]
        # row by row, so that no result depends on who else was in the batch
        for row, (name, head) in enumerate(zip(names, headers, strict=True)):
            features = self._features[picks[row]][None]
            result = self._temporal.step([self._rows[name]], features, dt[row : row + 1], keep[row : row + 1])
            said += self.memories[name].observe(head, advanced[row][0], result.prob[0], finite=bool(result.ok[0]))
        return said


class _ToldFiles(CheckpointFiles):
    """Notes each write that is done in memory that outlives the process."""

    def __init__(self, folder: Path, notes: mmap.mmap) -> None:
        super().__init__(folder)
        self._notes = notes

    def write(self, camera: str, data: bytes) -> None:
        super().write(camera, data)
        index = index_of(decode_checkpoint(data).memory.last.media_ns)
        struct.pack_into("q", self._notes, 8 * CAMERAS.index(camera), index)


def _live(rig: Rig, folder: Path, notes: mmap.mmap) -> None:
    """Step as fast as it goes, with a checkpoint after each frame, until the end comes."""
    checkpointer = Checkpointer(folder, 1e-3)
    checkpointer._files = _ToldFiles(folder, notes)
    keeper = StateKeeper(checkpointer, folder, epoch=1)
    index = rig.restore(keeper)
    while True:
        rig.step(index)
        keeper.save(rig.seats())
        index += 1


def _kill_one(rig: Rig, folder: Path, delay_s: float) -> list[int]:
    notes = mmap.mmap(-1, 8 * len(CAMERAS))
    notes[:] = struct.pack("q", -1) * len(CAMERAS)
    child = os.fork()
    if not child:
        try:
            _live(rig, folder, notes)
        finally:
            os._exit(3)
    threading.Event().wait(delay_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the process ended before it was killed"
    return list(struct.unpack(f"{len(CAMERAS)}q", notes))


def main() -> None:
    bundle, folder = load_bundle(sys.argv[1]), Path(sys.argv[2])
    rig = Rig(bundle)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_kill_one(rig, folder, int(line) / 1e6)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
