"""Checkpoints: what they hold, which are refused and why, and that a kill between any two system calls harms none."""

import errno
import gc
import logging
import os
import sys
import threading
import weakref
import zlib
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memories import (
    FALL,
    MANIFEST,
    NOW,
    SECOND_NS,
    checkpoint,
    fed_memory,
    feed,
    new_memory,
    plan,
    pool,
    wanted,
)

from engines.errors import ModelError
from pipeline.capture.ring import FrameFlag
from pipeline.durability import checkpointer as checkpointer_module
from pipeline.durability import files as files_module
from pipeline.durability import format as layout
from pipeline.durability.checkpointer import Checkpointer
from pipeline.durability.clocks import OutdatedError, elapsed_s, read_clocks
from pipeline.durability.files import CheckpointFiles
from pipeline.durability.format import decode_checkpoint, encode_checkpoint
from pipeline.durability.keeper import Seat, StateKeeper
from pipeline.durability.loading import load_checkpoint
from pipeline.durability.records import Checkpoint, MemoryRecord
from pipeline.inference.continuity import Cause
from pipeline.stream.messages import Event, Prediction

changed = msgspec.structs.replace


def plain(messages) -> list:
    return [changed(message, session="", **({"id": ""} if isinstance(message, Event) else {})) for message in messages]


# -- the memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 9, 33, 47])
def test_a_memory_that_recalls_says_what_the_first_one_would_have_said(frames):
    first, second = fed_memory(frames), new_memory()
    second.recall(decode_checkpoint(encode_checkpoint(checkpoint(frames))).memory)
    assert changed(second.remember(), session="") == changed(first.remember(), session="")
    rng = np.random.default_rng(frames)
    for index in range(frames, frames + 40):
        scores = rng.choice([FALL, FALL[::-1]])
        assert plain(feed(second, index, scores)) == plain(feed(first, index, scores))
    assert any(isinstance(m, Prediction) for i in range(100, 120) for m in feed(second, i))


def test_an_event_that_is_open_goes_on_under_its_id():
    first = new_memory()
    (begun,) = [m for index in range(20) for m in feed(first, index) if isinstance(m, Event) and m.type == "begin"]
    second = new_memory()
    second.recall(first.remember())
    later = [m for index in range(20, 40) for m in feed(second, index, FALL[::-1]) if isinstance(m, Event)]
    assert [(m.type, m.id) for m in later[-1:]] == [("end", begun.id)]


def test_an_event_has_the_same_id_if_it_begins_once_more_and_another_one_has_another():
    """Events that began after the checkpoint: number and all are forgotten."""
    first, second, third = fed_memory(1), new_memory(), new_memory()
    record = first.remember()
    begun = [m for index in range(1, 20) for m in feed(first, index) if isinstance(m, Event)]
    second.recall(record)
    again = [m for index in range(1, 20) for m in feed(second, index) if isinstance(m, Event)]
    third.recall(record)
    calm = [feed(third, index, FALL[::-1]) for index in range(1, 60)]
    other = [m for index in range(60, 80) for m in feed(third, index) if isinstance(m, Event)]
    assert not any(isinstance(m, Event) for each in calm for m in each)
    assert begun[0].id == again[0].id != other[0].id


HISTORIES = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 1, 1, 2, 5, 12, 40, -3]),  # frames from the one before, in sampling periods
        st.sampled_from([FrameFlag(0)] * 8 + list(FrameFlag)),
        st.sampled_from([FALL, FALL, FALL[::-1], np.array([0.5, 0.5], np.float32)]),
        st.sampled_from([True] * 9 + [False]),  # finite
        st.sampled_from([None] * 9 + [Cause.OPERATOR]),
    ),
    min_size=30,
    max_size=90,
)


def play(memory, history, at: int) -> list[bytes]:
    """What a memory says to frames; sessions by the order in which they come."""
    said, sessions = [], {memory.session: 0}
    for periods, flags, scores, finite, cause in history:
        at += periods
        if cause is not None:
            memory.interrupt(cause)
        messages = feed(memory, at, scores, flags, finite=finite)
        sessions.setdefault(memory.session, len(sessions))
        said += [
            changed(
                message, session=str(sessions[message.session]), **({"id": ""} if isinstance(message, Event) else {})
            )
            for message in messages
        ]
    return [*map(msgspec.json.encode, said), msgspec.json.encode([memory.remember().age_steps, len(sessions)])]


@settings(max_examples=40, deadline=None)
@given(
    history=HISTORIES,
    cut=st.integers(1, 29),
    policy=st.fixed_dictionaries(
        {
            cause: st.sampled_from(["keep", "hold", "reset"])
            for cause in ("gap", "reconnect", "seek", "frozen", "operator")
        }
    ),
)
def test_whatever_happened_before_a_memory_that_recalls_goes_on_as_the_first_one(history, cut, policy):
    first, second = new_memory(**policy), new_memory(**policy)
    play(first, history[:cut], 100)
    body = msgspec.msgpack.encode(first.remember())
    second.recall(msgspec.msgpack.decode(body, type=MemoryRecord))
    at = 100 + sum(periods for periods, *_ in history[:cut])
    assert play(second, history[cut:], at) == play(first, history[cut:], at)


def test_a_picture_that_was_frozen_already_does_not_freeze_once_more():
    first, second = new_memory(frozen="reset"), new_memory(frozen="reset")
    for index in range(10):
        feed(first, index, flags=FrameFlag.FROZEN if index > 5 else FrameFlag(0))
    second.recall(first.remember())
    feed(second, 10, flags=FrameFlag.FROZEN)
    assert (second.session, second.resets) == (first.session, 0)


GOLDEN = Path(__file__).parent / "golden" / "checkpoint-1.state"


def test_a_file_of_the_first_format_can_be_read():
    """Written once: a change of the records that cannot read it needs another format version."""
    found = decode_checkpoint(GOLDEN.read_bytes())
    assert (found.camera, found.memory.session, found.memory.age_steps) == ("camera0", "0f3a9c2b7d41", 33)
    rows, memory = pool(), new_memory()
    rows.restore(rows.acquire("camera0"), found.snapshot)
    memory.recall(found.memory)
    assert {m.session for index in range(33, 50) for m in feed(memory, index)} == {"0f3a9c2b7d41"}


def test_what_was_asked_from_outside_is_not_forgotten():
    first, second = fed_memory(), new_memory()
    first.interrupt(Cause.OPERATOR)
    second.recall(first.remember())
    feed(second, 33)
    assert second.session != first.session


@pytest.mark.parametrize("part", ["clips", "events", "recent"])
def test_a_record_of_another_model_is_refused_and_changes_nothing(part):
    memory, record = fed_memory(), fed_memory(21).remember()
    wrong = {
        "clips": changed(record.clips, probabilities=record.clips.probabilities[:-4]),
        "events": changed(record.events, tracks={"sitting": record.events.tracks["fall"]}),
        "recent": tuple(changed(frame, present=(True,)) for frame in record.recent),
    }
    before = memory.remember()
    with pytest.raises(ModelError, match="start without"):
        memory.recall(changed(record, **{part: wrong[part]}))
    assert memory.remember() == before


# -- the format ------------------------------------------------------------------------------------------------------


def test_a_bit_that_flips_at_any_place_is_seen():
    data = encode_checkpoint(checkpoint(12))
    for position in range(len(data)):
        for bit in (1, 2, 4, 8, 16, 32, 64, 128):
            flipped = bytearray(data)
            flipped[position] ^= bit
            with pytest.raises(ModelError):
                decode_checkpoint(bytes(flipped))


def test_a_file_that_is_cut_off_or_longer_anywhere_is_seen():
    data = encode_checkpoint(checkpoint(12))
    for bad in [data[:length] for length in range(len(data))] + [data + b"\0", b"\0" * len(data)]:
        with pytest.raises(ModelError):
            decode_checkpoint(bad)


def leaves(value, path=()):
    """The paths to all parts of a decoded body."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in pairs:
        yield from leaves(part, (*path, key))


def put(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


BODY = msgspec.msgpack.decode(msgspec.msgpack.encode(checkpoint(12)))
PATHS = list(leaves(BODY))
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=16),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def read_hostile(path, new) -> bool:
    """Whether a body that says something else in one place, under a CRC that is right, is taken; it must do no harm."""
    body = msgspec.msgpack.encode(put(BODY, path, new))
    head = files_head(body)
    rows, memory = pool(), new_memory()
    row = rows.acquire("camera0")
    try:
        found = decode_checkpoint(head + body)
        found.age_ns(elapsed_s(found.clocks, NOW))
        rows.restore(row, found.snapshot)
        memory.recall(found.memory)
    except ModelError:
        return False
    for index in (13, 14, 20, 31):
        for message in feed(memory, index):
            assert b"null" not in msgspec.json.encode(message)
    return True


def files_head(body: bytes) -> bytes:
    head = layout._HEAD.pack(layout._MAGIC, layout.VERSION, len(body))
    return head + layout._CRC.pack(zlib.crc32(body, zlib.crc32(head)))


def test_what_is_untouched_is_taken():
    assert read_hostile(("epoch",), 1)


@settings(max_examples=200, deadline=None)
@given(path=st.sampled_from(PATHS), new=ANYTHING)
def test_a_body_with_anything_in_any_place_is_refused_or_harmless(path, new):
    read_hostile(path, new)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(path=st.sampled_from(PATHS), new=ANYTHING)
def test_ten_thousand_bodies_are_refused_or_harmless(path, new):
    read_hostile(path, new)


GOOD = encode_checkpoint(checkpoint(12))


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(
    start=st.integers(0, len(GOOD)),
    length=st.integers(0, 64),
    middle=st.binary(max_size=64),
    rest=st.binary(max_size=8),
)
def test_ten_thousand_damaged_files_are_refused(start, length, middle, rest):
    damaged = GOOD[:start] + middle + GOOD[start + length :] + rest
    if damaged == GOOD:
        return
    with pytest.raises(ModelError):
        decode_checkpoint(damaged)


# -- which is taken --------------------------------------------------------------------------------------------------


def store(folder, *checkpoints: Checkpoint) -> None:
    files = CheckpointFiles(folder)
    for each in checkpoints:
        files.write(each.camera, encode_checkpoint(each))


def later(seconds: float, **more):
    ns = round(seconds * 1e9)
    return changed(NOW, boot_ns=NOW.boot_ns + ns, monotonic_ns=NOW.monotonic_ns + ns, wall_ns=NOW.wall_ns + ns, **more)


def test_the_younger_of_two_files_is_taken(tmp_path):
    for first, second in ((20, 33), (33, 20)):
        store(tmp_path, checkpoint(first), checkpoint(second))
        found = load_checkpoint(tmp_path, "camera0", wanted(), NOW)
        assert found is not None
        assert found.memory.age_steps == 33


def test_a_damaged_file_leaves_the_one_before(tmp_path, caplog):
    store(tmp_path, checkpoint(20), checkpoint(33))
    newest = CheckpointFiles(tmp_path).paths("camera0")[1]
    newest.write_bytes(newest.read_bytes()[:-1])
    found = load_checkpoint(tmp_path, "camera0", wanted(), NOW)
    assert found is not None
    assert found.memory.age_steps == 20
    assert "a checkpoint of camera0 is not used: it is cut off" in caplog.text


@pytest.mark.parametrize(
    ("change", "asked", "reason"),
    [
        ({"camera": "camera1"}, {}, "it is of the camera 'camera1'"),
        ({}, {"rate_hz": 4.0}, "another rate_hz now"),
        ({}, {"crop": (0.0, 0.0, 0.5, 0.5)}, "another crop now"),
        ({}, {"source": "rtsp://u:secret@host/b", "rate_hz": 2.0}, "another rate_hz and source now"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(change, asked, reason, tmp_path, caplog):
    CheckpointFiles(tmp_path).write("camera0", encode_checkpoint(changed(checkpoint(), **change)))
    assert load_checkpoint(tmp_path, "camera0", wanted(**asked), NOW) is None
    assert reason in caplog.text
    assert "secret" not in caplog.text


def test_another_password_is_no_other_source_and_none_is_kept(tmp_path):
    store(tmp_path, checkpoint())
    assert load_checkpoint(tmp_path, "camera0", wanted(source="rtsp://u:changed@host/a"), NOW) is not None
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.iterdir())


def test_another_model_and_other_shapes_are_refused(tmp_path, caplog):
    store(tmp_path, checkpoint())
    fit = wanted()
    for unfit, reason in (
        (changed_wanted(fit, model_sha="cd" * 32), "it is of the model 'abababababab'"),
        (changed_wanted(fit, shapes={"h": (4,)}), "it has h as [3] in 12 bytes, the model as [4]"),
        (changed_wanted(fit, shapes={"c": (3,)}), "other names"),
    ):
        assert load_checkpoint(tmp_path, "camera0", unfit, NOW) is None
        assert reason in caplog.text


def test_a_state_that_is_no_number_is_refused_before_it_comes_near_the_model(tmp_path, caplog):
    one = checkpoint()
    tensor = changed(one.snapshot.tensors["h"], data=np.array([1, np.nan, 2], "<f4").tobytes())
    store(tmp_path, changed(one, snapshot=changed(one.snapshot, tensors={"h": tensor})))
    assert load_checkpoint(tmp_path, "camera0", wanted(), NOW) is None
    assert "values in h that are no numbers" in caplog.text


def changed_wanted(fit, **change):
    return type(fit)(**{**fit.__dict__, **change})


def test_what_is_older_than_the_gap_that_is_allowed_is_not_used(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    one = checkpoint()  # its last frame came 93.6 s before the checkpoint
    store(tmp_path, one)
    assert load_checkpoint(tmp_path, "camera0", wanted(max_gap_s=95.0), later(1.3)) is not None
    assert load_checkpoint(tmp_path, "camera0", wanted(max_gap_s=95.0), later(1.5)) is None
    assert "95.1 s old, and continuity.max_gap_s is 95" in caplog.text


def test_nothing_there_is_no_word(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert load_checkpoint(tmp_path / "never", "camera0", wanted(), NOW) is None
    assert not caplog.text


# -- clocks ----------------------------------------------------------------------------------------------------------

HOUR_NS = 3600 * SECOND_NS


@pytest.mark.parametrize(
    ("now", "expected_s"),
    [
        (later(1.5), 1.5),
        (changed(later(1.5), wall_ns=0), 1.5),  # the wall clock stepped back
        (changed(later(1.5), wall_ns=NOW.wall_ns + HOUR_NS), 1.5),
        (changed(later(3600), monotonic_ns=NOW.monotonic_ns), 3600),  # it slept
        (changed(NOW, boot_ns=0), None),
        # after a boot, 30 s ago
        (changed(NOW, boot_id="new", boot_ns=30 * SECOND_NS, wall_ns=NOW.wall_ns + 60 * SECOND_NS), 60),
        (changed(NOW, boot_id="new", boot_ns=30 * SECOND_NS, wall_ns=NOW.wall_ns + 2 * SECOND_NS), None),
        (changed(NOW, boot_id="new", boot_ns=30 * SECOND_NS, wall_ns=NOW.wall_ns - HOUR_NS), None),
        (changed(later(60), boot_id="new", boot_ns=30 * SECOND_NS, synchronised=False), None),
    ],
)
def test_no_step_of_the_wall_clock_makes_an_old_state_young(now, expected_s):
    if expected_s is None:
        with pytest.raises(OutdatedError):
            elapsed_s(NOW, now)
    else:
        assert elapsed_s(NOW, now) == pytest.approx(expected_s)


def test_without_a_boot_id_two_clocks_must_agree():
    before = changed(NOW, boot_id="")
    assert elapsed_s(before, changed(later(2), boot_id="")) == pytest.approx(2)
    for strange in (changed(later(2), wall_ns=NOW.wall_ns - HOUR_NS), changed(later(2), boot_ns=NOW.boot_ns + HOUR_NS)):
        with pytest.raises(OutdatedError):
            elapsed_s(before, changed(strange, boot_id=""))


def test_real_clocks_tell_how_long_it_was():
    first, second = read_clocks(), read_clocks()
    assert 0 <= elapsed_s(first, second) < 5


# -- files -----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here: no handler of it runs."""


class Disk:
    """The operating system's calls, of which the one with number `last` does half its work or none, and is the last."""

    def __init__(self, last: float = float("inf"), share: float = 0.0) -> None:
        self.calls, self._last, self._share = 0, last, share

    def __getattr__(self, name: str):
        found = getattr(os, name)
        return (lambda *args: self._call(name, found, args)) if callable(found) else found

    def _call(self, name, call, args):
        self.calls += 1
        if self.calls < self._last:
            return call(*args)
        if self.calls == self._last and name == "write" and self._share:
            call(args[0], args[1][: round(len(args[1]) * self._share)])
        if self.calls == self._last and name == "replace" and self._share:
            call(*args)
        raise Killed


def test_a_kill_between_any_two_system_calls_loses_nothing_that_was_written(tmp_path, monkeypatch):
    def write(frames: int, disk: Disk) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(files_module, "os", disk)
            files.write("camera0", encode_checkpoint(checkpoint(frames)))

    counted = Disk()
    files = CheckpointFiles(tmp_path / "counted")
    write(20, Disk())  # makes the folder
    write(20, counted)
    assert counted.calls >= 4
    seen = set()
    for last in range(1, counted.calls + 1):
        for share in (0.0, 0.5, 0.99):
            folder = tmp_path / f"{last}-{share}"
            files = CheckpointFiles(folder)
            for frames in (20, 21, 22):
                write(frames, Disk())
            with pytest.raises(Killed):
                write(23, Disk(last, share))
            found = load_checkpoint(folder, "camera0", wanted(), NOW)
            assert found is not None
            seen.add(found.memory.age_steps)
            assert all(decode_checkpoint(path.read_bytes()) for path in folder.glob("*.state"))
            files = CheckpointFiles(folder)  # the next process
            write(24, Disk())
            found = load_checkpoint(folder, "camera0", wanted(), NOW)
            assert found is not None
            assert found.memory.age_steps == 24
    assert seen == {22, 23}


def test_what_is_on_the_disk_for_certain_stays_until_something_newer_is(tmp_path, monkeypatch):
    """A power failure may leave every file empty that was written after the last sync, whatever it replaced."""
    on_disk: set[bytes] = set()
    monkeypatch.setattr(os, "fsync", lambda file: on_disk.add(os.pread(file, 9, 0)))
    files, newest_synced = CheckpointFiles(tmp_path), 0
    for number in range(1, 40):
        files.write("camera0", str(number).encode())
        if number % 7 == 3:
            files.sync("camera0")
            newest_synced = number
        found = {path.read_bytes() for path in tmp_path.glob("*.state")}
        assert str(number).encode() in found
        assert max(map(int, found & on_disk), default=0) == newest_synced


def test_files_are_private(tmp_path):
    store(tmp_path / "new", checkpoint())
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o600}


# -- the writer ------------------------------------------------------------------------------------------------------


class TrickyFiles(CheckpointFiles):
    """Files on a disk that can be broken, full or slow; tells of each attempt."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.error: OSError | None = None
        self.free = threading.Event()
        self.free.set()
        self.begun = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.synced: list[str] = []

    def write(self, camera, data) -> None:
        self.begun.release()
        assert self.free.wait(10)
        try:
            if self.error is not None:
                raise self.error
            super().write(camera, data)
        finally:
            self.ended.release()

    def sync(self, camera) -> None:
        super().sync(camera)
        self.synced.append(camera)


@pytest.fixture
def tricky(tmp_path, monkeypatch):
    files = TrickyFiles(tmp_path)
    monkeypatch.setattr(checkpointer_module, "CheckpointFiles", lambda _: files)
    return files


def wait_for(semaphore: threading.Semaphore) -> None:
    assert semaphore.acquire(timeout=10)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_an_alarm_and_heals_by_itself(code, tricky, tmp_path):
    with Checkpointer(tmp_path, 0.01) as writer:
        tricky.error = OSError(code, os.strerror(code))
        writer.save([checkpoint()])
        wait_for(tricky.ended)
        wait_for(tricky.ended)  # it is tried again although nothing new came
        assert os.strerror(code) in writer.alarm
        assert load_checkpoint(tmp_path, "camera0", wanted(), NOW) is None
        tricky.error = None
        wait_for(tricky.ended)
    assert writer.alarm == ""
    assert load_checkpoint(tmp_path, "camera0", wanted(), NOW) is not None
    assert tricky.synced == ["camera0"]


def test_a_slow_disk_gets_the_newest_records_only(tricky, tmp_path):
    with Checkpointer(tmp_path, 1.0) as writer:
        tricky.free.clear()
        writer.save([checkpoint(10)])
        wait_for(tricky.begun)
        for frames in range(11, 31):
            writer.save([checkpoint(frames), checkpoint(frames, "camera1")])
        tricky.free.set()
    assert tricky.ended._value == 3  # camera0 twice and camera1 once
    for camera in ("camera0", "camera1"):
        found = load_checkpoint(tmp_path, camera, wanted(camera=camera), NOW)
        assert found is not None
        assert found.memory.age_steps == 30


def test_what_a_disk_refuses_does_not_take_the_place_of_what_is_newer(tricky, tmp_path):
    with Checkpointer(tmp_path, 60.0) as writer:
        tricky.free.clear()
        tricky.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        writer.save([checkpoint(10)])
        wait_for(tricky.begun)
        writer.save([checkpoint(30)])
        tricky.free.set()
        wait_for(tricky.ended)
        tricky.error = None
    found = load_checkpoint(tmp_path, "camera0", wanted(), NOW)
    assert found is not None
    assert found.memory.age_steps == 30


def test_a_disk_that_hangs_is_late_and_keeps_nobody(tricky, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(checkpointer_module, "_CLOSE_S", 0.05)
    monkeypatch.setattr(checkpointer_module, "_LATE_S", 0.0)
    writer = Checkpointer(tmp_path, 1e-9)
    assert writer.alarm == ""  # models may take minutes to load before anything is handed over
    tricky.free.clear()
    writer.save([checkpoint()])
    wait_for(tricky.begun)
    writer.save([checkpoint()])
    assert "the disk is slow" in writer.alarm
    writer.close()
    assert "did not answer" in caplog.text
    tricky.free.set()
    writer._thread.join(10)


def test_checkpoints_are_due_again_after_the_interval(tmp_path):
    with Checkpointer(tmp_path, 5.0) as writer:
        assert writer.due(1.0)
        writer.save([])
        assert writer.age_s < 5
        assert not writer.due(writer._next_s - 0.001)
        assert writer.due(writer._next_s)


# -- the keeper ------------------------------------------------------------------------------------------------------


class Handed:
    """A checkpointer that keeps what it is given."""

    def __init__(self) -> None:
        self.rounds: list[list[Checkpoint]] = []

    def save(self, records) -> None:
        self.rounds.append(list(records))


class Runner:
    """The part of a runner that gives states away."""

    def __init__(self, *cameras: str) -> None:
        self._pool = pool(4)
        self._rows = {camera: self._pool.acquire(camera) for camera in cameras}

    def snapshots(self, ages):
        return self._pool.snapshots([self._rows[name] for name in ages], list(ages.values()))


def seat(memory, runner: Runner, **how) -> Seat:
    read = plan(memory.camera, **how)
    camera = SimpleNamespace(plan=read, waits=not read.source.live, coded_size=(640, 360))
    return Seat(camera, runner, memory)


def test_only_cameras_with_something_new_are_saved_and_files_never():
    handed, runner = Handed(), Runner("camera0", "camera1", "camera2")
    keeper = StateKeeper(handed, None, epoch=7)
    memory, still, file = fed_memory(), new_memory("camera1"), fed_memory(33, "camera2")
    seats = [seat(memory, runner), seat(still, runner), seat(file, runner, source="/a.mp4")]
    keeper.save(seats)
    keeper.save(seats)
    feed(memory, 33)
    keeper.save(seats)
    list(memory.close())  # its event ends; no frame came
    keeper.save(seats)
    assert [[record.camera for record in each] for each in handed.rounds] == [["camera0"], [], ["camera0"], ["camera0"]]
    assert (handed.rounds[0][0].epoch, handed.rounds[0][0].size) == (7, (640, 360))


def test_nothing_is_kept_of_a_camera_that_has_gone():
    runner = Runner("camera0", "camera1")
    keeper, seats = StateKeeper(Handed(), None, epoch=1), [seat(fed_memory(), runner)]
    gone = seat(fed_memory(33, "camera1"), runner)
    keeper.save([*seats, gone])
    plan_of_it = weakref.ref(gone.camera.plan)
    keeper.save(seats)
    del gone
    gc.collect()
    assert plan_of_it() is None


def test_a_start_goes_on_with_what_is_there_and_a_camera_that_comes_later_does_not(tmp_path):
    now = read_clocks()
    newest = changed(checkpoint().memory.last, monotonic_ns=now.monotonic_ns - SECOND_NS)
    one = checkpoint(clocks=now)
    store(tmp_path, changed(one, memory=changed(one.memory, last=newest)))
    keeper, memory = StateKeeper(Handed(), tmp_path, epoch=1), new_memory()
    assert keeper.restore(plan(source="/a.mp4"), MANIFEST, memory) is None
    restored = keeper.restore(plan(), MANIFEST, memory)
    assert restored is not None
    assert restored.snapshot == one.snapshot
    assert restored.resume[0] == newest.media_ns
    assert abs(restored.resume[1] - newest.monotonic_ns) < SECOND_NS // 2
    assert memory.session == one.memory.session
    keeper.save([])
    assert keeper.restore(plan(), MANIFEST, new_memory()) is None


@pytest.mark.parametrize(("gap", "restored"), [("reset", False), ("keep", True), ("hold", True)])
def test_the_policy_for_gaps_holds_for_restarts(gap, restored, tmp_path):
    store(tmp_path, checkpoint(clocks=read_clocks()))
    keeper = StateKeeper(Handed(), tmp_path, epoch=1)
    found = keeper.restore(plan(), MANIFEST, new_memory(gap=gap, max_gap_s=0.5))
    assert (found is not None) is restored


def test_after_a_boot_the_age_counts_from_the_frame_and_not_from_the_next_save(tmp_path):
    """What was restored and got no frame since is saved again with this boot's clock: it must not become young."""
    now = read_clocks()
    before = changed(now, boot_id="before", monotonic_ns=400 * SECOND_NS, wall_ns=now.wall_ns - now.boot_ns - 9)
    store(tmp_path, checkpoint(clocks=changed(before, synchronised=True)))
    handed, memory = Handed(), new_memory(gap="keep")
    keeper = StateKeeper(handed, tmp_path, epoch=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.durability.keeper.read_clocks", lambda: changed(now, synchronised=True))
        assert keeper.restore(plan(), MANIFEST, memory) is not None
    keeper.save([seat(memory, Runner("camera0"))])
    again = handed.rounds[0][0]
    assert again.age_ns(0.0) >= now.boot_ns


def test_a_checkpoint_makes_no_strings_that_last(tmp_path):
    """An interned string takes a place in CPython's table that is not free again before the table is copied."""
    files, interned = CheckpointFiles(tmp_path), []
    files.write("camera0", b"first")
    sys.setprofile(lambda _frame, event, called: interned.append(called) if event == "c_call" else None)
    try:
        for _ in range(3):
            files.write("camera0", b"next")
            files.sync("camera0")
            files.sync_names()
    finally:
        sys.setprofile(None)
    assert os.replace in interned  # it sees what is called
    assert sys.intern not in interned
