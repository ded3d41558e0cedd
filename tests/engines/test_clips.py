"""The clip rule: spans in media seconds, closing on time, gaps, coverage."""

import gc
import sys

import numpy as np
import pytest

from engines.clips import UNKNOWN, Clip, ClipClock, Step, aggregate, decide, warm_from_s
from engines.manifest import ClipRule
from engines.sampling_grid import sampling_cell

LABELS = ("a", "b")


def probabilities(value: float) -> np.ndarray:
    return np.array([value, 1 - value], np.float32)


def cut(times: list[float], rule: ClipRule | None = None, rate_hz: float = 5.0, origin_s: float = 0.0) -> list[Clip]:
    clock = ClipClock(rule or ClipRule(), rate_hz, origin_s)
    return [clip for t in times for clip in clock.add(Step(t, probabilities(0.25)))]


def test_clip_k_covers_k_stride_to_k_stride_plus_length():
    clips = cut([i / 5 for i in range(25)])
    assert [(c.index, c.start_s, c.end_s) for c in clips] == [(0, 0, 2), (1, 1, 3), (2, 2, 4), (3, 3, 5)]
    assert all(c.frames == 10 and c.coverage == 1.0 for c in clips)


def test_a_clip_closes_with_its_own_last_frame_and_not_one_later():
    clock = ClipClock(ClipRule(), 5.0, 0.0)
    closed = [len(clock.add(Step(i / 5, probabilities(0.5)))) for i in range(10)]
    assert closed == [0] * 9 + [1]


@pytest.mark.parametrize("source_hz", [5.0, 7.0, 12.5, 15.0, 25.0, 29.97])
def test_every_sampled_frame_is_in_exactly_the_clips_that_cover_it(source_hz):
    cells: dict[int, float] = {}
    for i in range(int(30 * source_hz)):
        cells.setdefault(sampling_cell(i / source_hz, 5.0), i / source_hz)
    times = list(cells.values())
    for clip in cut(times):
        expected = [t for t in times if clip.start_s - 5e-3 <= t < clip.end_s - 5e-3]
        assert (clip.first_media_s, clip.last_media_s, clip.frames) == (expected[0], expected[-1], len(expected))


def test_jitter_before_a_boundary_counts_as_on_it():
    assert sampling_cell(0.1999, 5.0) == 1
    assert sampling_cell(0.19, 5.0) == 0


def test_a_gap_lowers_coverage_and_empty_clips_are_skipped():
    clips = cut([0.0, 0.2, 0.4, 3600.0, 3600.2, 3604.0])
    assert [c.index for c in clips] == [0, 3599, 3600]
    assert clips[0].coverage == pytest.approx(0.3)
    assert decide(clips[0], LABELS, 0.5) == UNKNOWN
    assert decide(clips[0], LABELS, 0.3) == "b"


def test_session_origin_moves_the_clips():
    clips = cut([10 + i / 5 for i in range(10)], origin_s=10.0)
    assert [(c.index, c.start_s, c.end_s) for c in clips] == [(0, 10, 12)]


def test_aggregates():
    steps = np.array([[0.2, 0.8], [0.6, 0.4]], np.float32)
    assert aggregate(steps, "last") == pytest.approx([0.6, 0.4])
    assert aggregate(steps, "mean") == pytest.approx([0.4, 0.6])
    assert aggregate(steps, "max") == pytest.approx([0.6 / 1.4, 0.8 / 1.4])


def test_a_step_brings_its_period_to_the_warm_up_and_rounded_times_do_not_matter():
    """0.4 s at 15 frames/s are six steps, also where a container counts in milliseconds."""
    for digits in (3, 9):
        ages = [round(step / 15, digits) for step in range(10)]
        assert [age >= warm_from_s(0.4, 15) for age in ages].index(True) == 5


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts the blocks of CPython's allocator")
def test_remembering_for_hours_keeps_no_memory():
    clock = ClipClock(ClipRule(), 5.0, 0.0)
    for index in range(8):
        clock.add(Step(index / 5, probabilities(0.5)))
    clock.remember()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(1000):
        clock.remember()
    assert sys.getallocatedblocks() - before < 100
