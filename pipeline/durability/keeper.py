"""The keeper of memory: takes checkpoints of the cameras that run, and gives each its own back at the next start."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from engines.errors import ModelError
from pipeline.durability.clocks import elapsed_s, read_clocks
from pipeline.durability.loading import Wanted, facts_of, load_checkpoint
from pipeline.durability.records import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from engines.manifest import Manifest
    from engines.snapshot import Snapshot
    from pipeline.capture.supervisor import CameraSupervisor, CapturePlan
    from pipeline.durability.checkpointer import Checkpointer
    from pipeline.durability.records import Facts, MemoryRecord
    from pipeline.inference.runner import ModelRunner
    from pipeline.inference.session import CameraMemory

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seat:
    """One camera that runs, and what its memory is made of."""

    camera: CameraSupervisor
    runner: ModelRunner
    memory: CameraMemory


@dataclass(frozen=True)
class Restored:
    """What a camera goes on with: its state, its media clock as (media, monotonic) ns, and its last picture size."""

    snapshot: Snapshot
    resume: tuple[int, int]
    size: tuple[int, int] | None


class StateKeeper:
    """Lives in the loop's thread. Files are never remembered: they begin anew."""

    def __init__(self, checkpointer: Checkpointer, folder: Path, epoch: int) -> None:
        self._checkpointer = checkpointer
        self._folder = folder
        self._epoch = epoch
        self._saved: dict[str, MemoryRecord] = {}
        self._facts: dict[str, tuple[CapturePlan, Facts]] = {}
        self._started = False

    def restore(self, plan: CapturePlan, manifest: Manifest, memory: CameraMemory) -> Restored | None:
        """Let a new memory recall the camera's checkpoint, where there is one that fits; only before the first save.

        A camera that is added while others run begins anew: what it left behind was said to be over.
        """
        if self._started or not plan.source.live:
            return None
        # where the policy keeps or holds memory over a gap, it does so over a restart as well
        most_s = memory.policy.max_gap_s if memory.policy.gap == "reset" else float("inf")
        shapes = {state.input: tuple(state.shape) for state in manifest.state}
        now = read_clocks()
        wanted = Wanted(memory.model.sha, shapes, facts_of(plan), most_s)
        checkpoint = load_checkpoint(self._folder, plan.name, wanted, now)
        if checkpoint is None:
            return None
        age_ns = checkpoint.age_ns(elapsed_s(checkpoint.clocks, now))
        # as this process's clock would have read: it may be another boot's
        last = replace(checkpoint.memory.last, monotonic_ns=now.monotonic_ns - age_ns)
        try:
            memory.recall(replace(checkpoint.memory, last=last))
        except ModelError as error:
            _log.warning("the checkpoint of %s is not used: %s", plan.name, error)
            return None
        _log.info("%s goes on with its memory of %.1f s ago (session %s)", plan.name, age_ns / 1e9, memory.session)
        return Restored(checkpoint.snapshot, (last.media_ns, last.monotonic_ns), checkpoint.size)

    def due(self) -> bool:
        """Whether it is time for checkpoints; cheap enough to ask in each turn of the loop."""
        return self._checkpointer.due(time.monotonic())

    def save(self, seats: Iterable[Seat]) -> None:
        """Hand over what has changed of these cameras since the last time; only between two steps."""
        self._started = True
        clocks = read_clocks()
        before, self._saved = self._saved, {}
        changed: dict[ModelRunner, list[tuple[Seat, MemoryRecord]]] = {}
        for seat in seats:
            if not seat.memory.session or seat.camera.waits:
                continue
            record = self._saved[seat.memory.camera] = seat.memory.remember()
            if record != before.get(seat.memory.camera):
                changed.setdefault(seat.runner, []).append((seat, record))
        self._checkpointer.save(
            Checkpoint(
                seat.memory.camera,
                self._epoch,
                clocks,
                self._facts_of(seat.camera.plan),
                seat.camera.coded_size,
                snapshot,
                record,
            )
            for runner, pairs in changed.items()
            for (seat, record), snapshot in zip(pairs, _snapshots(runner, pairs), strict=True)
        )
        self._facts = {name: known for name, known in self._facts.items() if name in self._saved}

    def _facts_of(self, plan: CapturePlan) -> Facts:
        known = self._facts.get(plan.name)
        if known is None or known[0] is not plan:
            known = self._facts[plan.name] = (plan, facts_of(plan))
        return known[1]


def _snapshots(runner: ModelRunner, pairs: list[tuple[Seat, MemoryRecord]]) -> list[Snapshot]:
    ages = {seat.memory.camera: (record.age_steps, record.age_s) for seat, record in pairs}
    return runner.snapshots(ages)
