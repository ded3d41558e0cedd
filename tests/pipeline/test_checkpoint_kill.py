"""kill -9 at any moment: the checkpoint is valid, nothing that was written is lost, and the predictions go on equal."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
import remembering
from remembering import CAMERAS, Rig, index_of

from engines.bundle import load_bundle
from engines.snapshot import Snapshot
from pipeline.durability.checkpointer import Checkpointer
from pipeline.durability.keeper import StateKeeper
from pipeline.durability.loading import Wanted, facts_of, load_checkpoint
from pipeline.durability.records import MemoryRecord
from pipeline.stream.messages import Event, Message, Prediction

_FURTHER = 12  # frames after each restore: two clips and more
_LEAST_FRAMES = 30
_SEED = 20


@contextmanager
def killer(folder: Path) -> Iterator:
    """A function that runs a process for so many microseconds, and tells the frames that it had written when killed."""
    process = subprocess.Popen(
        [sys.executable, remembering.__file__, "scene", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def kill(delay_us: int) -> list[int]:
        process.stdin.write(f"{delay_us}\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    try:
        yield kill
    finally:
        process.communicate(timeout=30)


class Uninterrupted:
    """The run that nobody kills: what it says after each frame, and its memory as it is written."""

    def __init__(self) -> None:
        self._rig = Rig(load_bundle("scene"))
        self.said: list[list[Message]] = []
        self.remembered: list[list[int]] = []

    def reach(self, index: int) -> None:
        while len(self.said) <= index:
            self.said.append(self._rig.step(len(self.said)))
            self.remembered.append([self._essence(name) for name in CAMERAS])

    def _essence(self, camera: str) -> int:
        record = self._rig.memories[camera].remember()
        return essence(self._rig.snapshots({camera: (record.age_steps, record.age_s)})[0], record)


def essence(snapshot: Snapshot, record: MemoryRecord) -> int:
    """A number for a state and a record, without what differs from run to run: the session's name and the arrival."""
    last = msgspec.structs.replace(record.last, monotonic_ns=0)
    return hash(msgspec.msgpack.encode((snapshot, msgspec.structs.replace(record, session="s", last=last))))


def spoken(messages: list[Message]) -> list[str]:
    return [re.sub(r'"(session|id)":"\w+', r'"\1":"', msgspec.json.encode(m).decode()) for m in messages]


def wanted(rig: Rig) -> Wanted:
    shapes = {state.input: tuple(state.shape) for state in rig.manifest.state}
    sha = next(iter(rig.memories.values())).model.sha
    return Wanted(sha, shapes, facts_of(rig.plan(CAMERAS[0])), float("inf"))


def survive(kills: int, folder: Path) -> tuple[int, list[Message]]:
    """Kill so many processes, each of which goes on where the one before was killed; the frames, and what they said."""
    rng, truth, compared = np.random.default_rng(_SEED), Uninterrupted(), []
    rig = Rig(load_bundle("scene"))
    reached = [-1] * len(CAMERAS)
    sessions: dict[tuple[str, int], str] = {}
    with killer(folder) as kill, Checkpointer(folder / "unused", 1.0) as unused:
        kill(300_000)  # the first one has nothing to go on from
        for number in range(20 * kills):
            if number >= kills and max(reached) > _LEAST_FRAMES:
                break  # on a busy machine a process may be killed before it has done anything
            written = kill(int(rng.integers(1_000, 40_000)))
            found = [load_checkpoint(folder, camera, wanted(rig)) for camera in CAMERAS]
            assert all(found), f"kill {number}: no valid checkpoint"
            indices = [index_of(each.memory.last.media_ns) for each in found]
            assert all(now >= max(pair) for now, *pair in zip(indices, written, reached, strict=True)), number
            reached = indices
            truth.reach(max(indices) + _FURTHER)
            for camera, each in enumerate(found):
                assert essence(each.snapshot, each.memory) == truth.remembered[indices[camera]][camera], number
                # sessions that began with the same frame are the same
                began = indices[camera] - each.memory.age_steps
                session = sessions.setdefault((each.camera, began), each.memory.session)
                assert session == each.memory.session, number
            following = rig.restore(StateKeeper(unused, folder, epoch=1))
            for index in range(following, following + _FURTHER):
                said = rig.step(index)
                assert spoken(said) == spoken(truth.said[index]), f"kill {number}, frame {index}"
                compared += said
    return max(reached), compared


def test_thirty_killed_processes_leave_the_predictions_of_one_that_nobody_killed(tmp_path):
    frames, compared = survive(30, tmp_path / "checkpoints")
    assert frames > _LEAST_FRAMES
    assert any(isinstance(message, Event) for message in compared)
    assert sum(not isinstance(message, Event) for message in compared) >= 30 * len(CAMERAS)


def test_another_back_end_goes_on_with_the_same_memory(tmp_path):
    bundle = load_bundle("scene")
    rigs = [Rig(bundle, backend=backend) for backend in ("onnxruntime", "openvino", "openvino")]
    for index in range(30):
        rigs[0].step(index)
    with Checkpointer(tmp_path, 1.0) as writer:
        StateKeeper(writer, tmp_path, epoch=1).save(rigs[0].seats())
    with Checkpointer(tmp_path / "unused", 1.0) as unused:
        assert {rig.restore(StateKeeper(unused, tmp_path, epoch=1)) for rig in rigs[1:]} == {30}
    said = [[message for index in range(30, 60) for message in rig.step(index)] for rig in rigs]
    assert spoken(said[1]) == spoken(said[2])
    scores = [[list(m.scores.values()) for m in each if isinstance(m, Prediction)] for each in said]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)
    assert len(scores[0]) >= 5 * len(CAMERAS)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_killed_processes_leave_the_predictions_of_one_that_nobody_killed(tmp_path):
    frames, compared = survive(1000, tmp_path / "checkpoints")
    assert frames > 1000
    assert len(compared) > 3000
