"""The rolling buffer: order, fullness, counters, and two processes on one memory."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations_messages import status

from pipeline.capture.ring import FrameFlag, FrameHeader, RollingBuffer
from pipeline.stream.messages import Counts, encode


def write(ring: RollingBuffer, value: int) -> None:
    ring.slot()[:] = value
    ring.commit(FrameHeader(0, value, value + 1, value + 2, value + 3, 0, FrameFlag.JUMPED | FrameFlag.DAMAGED))


@given(st.lists(st.booleans(), max_size=200))
def test_the_reader_sees_every_frame_once_and_in_order(writes):
    ring = RollingBuffer.create(3, 2, 2)
    model: list[int] = []
    taken, written = 0, 0
    picture = np.zeros((2, 2, 3), np.uint8)
    for writing in writes:
        assert ring.full == (len(model) == 3)
        if writing and not ring.full:
            write(ring, written % 251)
            model.append(written)
            written += 1
        elif model:
            header = ring.peek()
            assert header is not None
            assert header.sequence == taken == model.pop(0)
            ring.take(picture)
            assert (picture == taken % 251).all()
            taken += 1
        assert ring.counts().waiting == len(model)
    ring.close()


def test_the_header_survives_the_crossing():
    ring = RollingBuffer.create(2, 2, 2)
    ring.count("thinned", 3)
    ring.count("overrun", 1)
    write(ring, 7)
    assert ring.peek() == FrameHeader(0, 7, 8, 9, 10, 4, FrameFlag.JUMPED | FrameFlag.DAMAGED)
    ring.skip()
    assert ring.peek() is None
    ring.close()


MS = 1_000_000


def written_at(ring: RollingBuffer, *times_ms: int) -> None:
    for at_ms in times_ms:
        ring.commit(FrameHeader(0, 0, 0, 0, at_ms * MS, 0, FrameFlag(0)))


def lag_ms(ring: RollingBuffer, now_ms: int) -> float:
    return ring.lag_ns(now_ms * MS) / MS


def test_a_reader_that_stands_still_does_not_lag_and_one_that_is_slow_lags_by_the_wait():
    ring = RollingBuffer.create(8, 2, 2)
    assert lag_ms(ring, 0) == 0.0
    written_at(ring, 10, 20)
    assert lag_ms(ring, 300) == 0.0, "it has taken nothing so far"
    ring.skip()
    assert lag_ms(ring, 310) == 290.0, "what comes next had waited when it took that"
    assert lag_ms(ring, 400) == 380.0
    ring.skip()
    assert lag_ms(ring, 410) == 0.0, "none waits"
    written_at(ring, 420, 430)
    assert lag_ms(ring, 900) == 0.0, "nothing waited when it took the last one"
    ring.close()


def test_a_reader_that_takes_more_than_comes_does_not_lag():
    ring = RollingBuffer.create(8, 2, 2)
    written_at(ring, 10, 20, 30, 40)
    assert lag_ms(ring, 300) == 0.0
    ring.skip()
    ring.skip()
    assert lag_ms(ring, 310) == 0.0
    written_at(ring, 320)
    ring.skip()
    assert lag_ms(ring, 330) == 290.0
    ring.close()


def test_a_picture_that_repeats_the_one_before_is_noticed():
    ring = RollingBuffer.create(2, 6, 5)
    seen = []
    for value, corner in ((7, 7), (7, 7), (7, 8), (7, 8), (9, 9), (9, 9)):
        ring.slot()[:] = value
        ring.slot()[0, 0, 0] = corner
        seen.append(ring.repeats())
        ring.commit(FrameHeader(0, 0, 0, 0, 0, 0, FrameFlag.REPEATS if seen[-1] else FrameFlag(0)))
        header = ring.peek()
        assert header is not None
        assert header.repeats == seen[-1]
        ring.skip()
    assert seen == [False, True, False, True, False, True]
    ring.close()


def test_frames_that_grew_too_old_are_left_out_and_told_of_by_the_next():
    ring = RollingBuffer.create(4, 2, 2)
    for at_ns, flags in (
        (10, FrameFlag.CONNECTED | FrameFlag.FROZEN),
        (20, FrameFlag.REPEATS),
        (30, FrameFlag.REPEATS),
    ):
        ring.count("thinned")
        ring.commit(FrameHeader(0, at_ns, 0, at_ns, 0, 0, flags))
    assert ring.expire(30) == 2
    header = ring.peek()
    assert header is not None
    assert (header.sequence, header.dropped) == (2, 5), "three were thinned out, two expired"
    assert header.flags == FrameFlag.CONNECTED, "it repeats a picture that nobody took"
    counts = ring.counts()
    assert (counts.due, counts.taken, counts.waiting, counts.thinned, counts.overrun) == (6, 0, 1, 3, 2)
    ring.skip()
    ring.commit(FrameHeader(0, 40, 0, 40, 0, 0, FrameFlag(0)))
    header = ring.peek()
    assert header is not None
    assert (header.dropped, header.flags) == (0, FrameFlag(0))
    ring.close()


def test_a_writer_that_takes_over_goes_on_from_what_the_dead_one_counted():
    ring = RollingBuffer.create(3, 2, 2)
    write(ring, 1)
    ring.count("thinned", 2)  # and dies, before a frame told of them
    heir = RollingBuffer(os.dup(ring.fd), 3, 2, 2)
    heir.count("overrun")
    write(heir, 2)
    ring.skip()
    header = ring.peek()
    assert header is not None
    assert header.dropped == 3
    heir.close()
    ring.close()


def test_a_ring_of_one_slot_has_nothing_to_compare_with():
    ring = RollingBuffer.create(1, 2, 2)
    write(ring, 7)
    ring.skip()
    assert not ring.repeats()
    ring.close()


def test_another_process_writes_into_the_same_memory_and_leaves_no_file():
    ring = RollingBuffer.create(4, 2, 2)
    code = (
        "import sys; from pipeline.capture.ring import *\n"
        "ring = RollingBuffer(int(sys.argv[1]), 4, 2, 2)\n"
        "for v in (5, 6):\n"
        "    ring.slot()[:] = v; ring.count('grabbed'); ring.commit(FrameHeader(0, v, 0, 0, 0, 0, FrameFlag(0)))\n"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", code, str(ring.fd)], pass_fds=[ring.fd], check=True, env=environment)
    picture = np.zeros((2, 2, 3), np.uint8)
    for value in (5, 6):
        header = ring.peek()
        assert header is not None
        assert header.media_ns == value
        ring.take(picture)
        assert (picture == value).all()
    assert ring.counts().grabbed == 2
    assert not list(Path("/dev/shm").glob("*vidpipe*"))
    ring.close()


@pytest.mark.parametrize(
    "words",
    [[2**64 - 1] * 7, [5, 5, 0, 2**64 - 1, 2**64 - 1, 0, 0], [2**64 - 1, 2**64 - 2, 0, 0, 0, 0, 0], [2**61] * 7],
)
def test_counters_that_a_writer_gone_mad_has_spoilt_fit_into_a_message_and_heal(words):
    ring = RollingBuffer.create(3, 2, 2)
    for index, word in enumerate(words):
        ring._words[index] = word
    assert not ring.is_sound()
    counts = asdict(ring.counts()) | {"due": ring.counts().due, "in_flight": ring.counts().waiting}
    del counts["written"], counts["read"], counts["expired"]
    assert encode(status("a", counts=Counts(**counts)))
    ring.skip()
    ring.expire(2**62)
    ring.empty()
    assert ring.is_sound()
    write(ring, 7)
    assert ring.backlog == 1
    ring.close()


@pytest.mark.skipif(sys.platform != "linux", reason="memory with seals is Linux's")
def test_no_writer_can_cut_the_memory_short():
    ring = RollingBuffer.create(3, 2, 2)
    for size in (0, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(ring.fd, size)
    assert ring.backlog == 0
    ring.close()
