"""One camera's memory with a small model, filled by hand, and its checkpoint."""

from __future__ import annotations

import numpy as np

from engines.manifest import ClipRule, EventRule, FrameInput, Manifest, StateTensor
from engines.state_pool import StatePool
from pipeline.capture.ring import FrameFlag, FrameHeader
from pipeline.capture.supervisor import CapturePlan
from pipeline.config.schema import Continuity
from pipeline.config.source import parse_source
from pipeline.durability.clocks import Clocks
from pipeline.durability.loading import Wanted, facts_of
from pipeline.durability.records import Checkpoint
from pipeline.inference.session import CameraMemory
from pipeline.stream.messages import ModelInfo

SHA = "ab" * 32
SECOND_NS = 1_000_000_000
FALL = np.array([0.1, 0.9], np.float32)
MANIFEST = Manifest(
    schema="vidpipe.bundle/1",
    name="m",
    version="1",
    family="f",
    labels=("idle", "fall"),
    input=FrameInput(8, 8, 5.0),
    features=(4,),
    state=(StateTensor("h", "next_h", (3,)),),
    files={},
    clip=ClipRule(),
    events={"fall": EventRule()},
    warm_up_s=3.0,
)
NOW = Clocks("boot", 500 * SECOND_NS, 400 * SECOND_NS, 1_000_000 * SECOND_NS, synchronised=True)


def new_memory(camera: str = "camera0", **policy) -> CameraMemory:
    return CameraMemory(camera, MANIFEST, ModelInfo("m", "1", SHA, "openvino", "f32"), 5.0, Continuity(**policy))


def feed(memory: CameraMemory, index: int, scores=FALL, flags: FrameFlag = FrameFlag(0), *, finite=True) -> list:
    """Frame `index` of 5 a second, taken so long after frame 0, which came at 300 s of CLOCK_MONOTONIC."""
    at_ns = index * SECOND_NS // 5
    header = FrameHeader(index, at_ns, 0, 300 * SECOND_NS + at_ns, 0, int(index % 4 == 1), flags)
    step, ended = memory.advance(header)
    return ended + list(memory.observe(header, step, scores, finite=finite))


def fed_memory(frames: int = 33, camera: str = "camera0", **policy) -> CameraMemory:
    memory = new_memory(camera, **policy)
    for index in range(frames):
        feed(memory, index)
    return memory


def plan(camera: str = "camera0", source: str = "rtsp://u:secret@host/a", rate_hz: float = 5.0, **more) -> CapturePlan:
    return CapturePlan(camera, parse_source(source), 8, 8, rate_hz, **more)


def pool(capacity: int = 2) -> StatePool:
    return StatePool(MANIFEST, SHA, capacity)


def checkpoint(frames: int = 33, camera: str = "camera0", clocks: Clocks = NOW) -> Checkpoint:
    """As it is taken at `clocks` after so many frames."""
    memory, rows = fed_memory(frames, camera).remember(), pool()
    row = rows.acquire(camera)
    rows.scatter(np.array([row]), {"next_h": np.array([[frames, 0.5, -0.25]], np.float32)})
    snapshot = rows.snapshot(row, age_steps=memory.age_steps, age_s=memory.age_s)
    return Checkpoint(camera, 1, clocks, facts_of(plan(camera)), None, snapshot, memory)


def wanted(max_gap_s: float = 1e9, **facts) -> Wanted:
    return Wanted(SHA, {"h": (3,)}, facts_of(plan(**facts)), max_gap_s)
