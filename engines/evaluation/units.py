"""What is judged: clips with one true label each, single frames, and the stream of all videos one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.clips import Clip, ClipClock, Probabilities, Step, aggregate, warm_from_s
from engines.datasets.intervals import inside, labels_at
from engines.evaluation.alarms import StreamTruth
from engines.evaluation.metrics import Judged
from engines.manifest import Manifest
from engines.sampling_grid import sampling_cell

if TYPE_CHECKING:
    from engines.datasets.labelled import Span
    from engines.evaluation.occurrences import Run
    from engines.evaluation.watching import Watched


@dataclass(frozen=True)
class Unit:
    """The steps `[begin, last)` of a video, `[start_s, end_s)` of its time, that carry one label together.

    `first` is where its score begins: after the model's warm-up, where the unit lasts that long.
    """

    video: int
    begin: int
    first: int
    last: int
    start_s: float
    end_s: float
    label: int

    def score(self, answers: Sequence[NDArray[np.float32]], how: str) -> Probabilities:
        """Probabilities `[C]` by the clip rule; answers `[F, C]` of each video."""
        return aggregate(answers[self.video][self.first : self.last], how)


def units_of(watched: Sequence[Watched], manifest: Manifest) -> list[Unit]:
    """A clip with one label for all of it is one unit; a video with marked intervals is cut as serving cuts it."""
    units = []
    for number, each in enumerate(watched):
        if each.video.spans and all(span.whole for span in each.video.spans):
            units += list(_rows(number, each, manifest))
        else:
            units += list(_cut(number, each, manifest))
    return units


def rows_of(watched: Sequence[Watched], manifest: Manifest) -> list[Unit]:
    """Every marked interval as one unit, whatever its length."""
    return [unit for number, each in enumerate(watched) for unit in _rows(number, each, manifest)]


def judged_units(
    units: Sequence[Unit], answers: Sequence[NDArray[np.float32]], groups: NDArray[np.int64], how: str
) -> Judged:
    """Units as decisions; groups `[videos]` are indices of each video's group."""
    probabilities = np.array([unit.score(answers, how) for unit in units], np.float64)
    truth = np.array([unit.label for unit in units], np.int64)
    return Judged(probabilities, truth, groups[[unit.video for unit in units]])


def judged_frames(
    watched: Sequence[Watched], answers: Sequence[NDArray[np.float32]], groups: NDArray[np.int64],
    labels: tuple[str, ...],
) -> Judged:  # fmt: skip
    """Every labelled frame as a decision; answers `[F, C]` of each video."""
    truth = [labels_at(each.times_s, each.video.spans, labels) for each in watched]
    known = np.concatenate(truth) >= 0
    owner = np.repeat(groups, [len(each) for each in truth])
    probabilities = np.concatenate(list(answers)).astype(np.float64)
    return Judged(probabilities[known], np.concatenate(truth)[known], owner[known])


@dataclass(frozen=True)
class Stream:
    """All videos one after the other.

    Attributes:
        joined: whether the state was carried over from video to video; else each began afresh, on its own.
        times_s: float64 `[F]`, of each step, in seconds of the stream.
        answers: float32 `[F, C]`, probabilities of each step.
        sessions: the clips that serving makes of it, for each unbroken run of the state.
        truth: what is true of it.
        seconds: how long it is.
    """

    joined: bool
    times_s: NDArray[np.float64]
    answers: NDArray[np.float32]
    sessions: Sequence[Sequence[Clip]]
    truth: StreamTruth
    seconds: float


def stream_of(watched: Sequence[Watched], groups: NDArray[np.int64], manifest: Manifest, *, together: bool) -> Stream:
    """The videos in their order: as one endless stream, or each on its own from a fresh state."""
    times = [each.times_s + each.joined_s for each in watched]
    answers = [each.carried if together else each.alone for each in watched]
    if together:
        times, answers = [np.concatenate(times)], [np.concatenate(answers)]
    sessions = [_clips(part_s, said, manifest) for part_s, said in zip(times, answers, strict=True)]
    starts, end_s = _starts(watched, manifest.input.fps)
    owners = np.array(starts), groups
    truth = _truth(watched, [*starts[1:], end_s], manifest, owners, together=together)
    return Stream(together, np.concatenate(times), np.concatenate(answers), sessions, truth, end_s)


def _clips(times_s: NDArray[np.float64], answers: NDArray[np.float32], manifest: Manifest) -> list[Clip]:
    rate_hz = manifest.input.fps
    clock = ClipClock(manifest.clip, rate_hz, sampling_cell(float(times_s[0]), rate_hz) / rate_hz)
    return [
        clip for time_s, row in zip(times_s.tolist(), answers, strict=True) for clip in clock.add(Step(time_s, row))
    ]


def _rows(number: int, each: Watched, manifest: Manifest) -> Iterator[Unit]:
    for span in each.video.spans:
        steps = np.flatnonzero(inside(each.times_s, span))
        if len(steps):
            end_s = min(span.end_s, float(each.times_s[-1]) + 1.0 / manifest.input.fps)
            label = manifest.labels.index(span.label)
            begin, last = int(steps[0]), int(steps[-1]) + 1
            yield _warm(Unit(number, begin, begin, last, span.start_s, end_s, label), each, manifest)


def _cut(number: int, each: Watched, manifest: Manifest) -> Iterator[Unit]:
    for clip in _clips(each.times_s, each.alone, manifest):
        label = _label_of(clip, each.video.spans, manifest)
        if label is not None:
            first = int(np.searchsorted(each.times_s, clip.first_media_s))
            last = int(np.searchsorted(each.times_s, clip.last_media_s, side="right"))
            yield _warm(Unit(number, first, first, last, clip.start_s, clip.end_s, label), each, manifest)


def _label_of(clip: Clip, spans: Sequence[Span], manifest: Manifest) -> int | None:
    """The label of half the clip or more; with the aggregate `last` the one at its last frame."""
    if manifest.clip.aggregate == "last":
        label = int(labels_at(np.array([clip.last_media_s]), spans, manifest.labels)[0])
        return None if label < 0 else label
    shares = np.zeros(len(manifest.labels))
    for span in spans:
        shares[manifest.labels.index(span.label)] += max(
            0.0, min(span.end_s, clip.end_s) - max(span.start_s, clip.start_s)
        )
    return int(shares.argmax()) if shares.max() >= 0.5 * (clip.end_s - clip.start_s) - 1e-6 else None


def _warm(unit: Unit, each: Watched, manifest: Manifest) -> Unit:
    """Without the steps before the model is warm, where there are others."""
    warm_s = float(each.times_s[0]) + warm_from_s(manifest.warm_up_s, manifest.input.fps)
    first = max(unit.first, int(np.searchsorted(each.times_s, warm_s)))
    return unit if first >= unit.last else replace(unit, first=first)


def _starts(watched: Sequence[Watched], rate_hz: float) -> tuple[list[float], float]:
    """Where each video starts in the stream, and where the last one ends."""
    starts = [sampling_cell(float(each.times_s[0]), rate_hz) / rate_hz + each.joined_s for each in watched]
    last = watched[-1]
    return starts, last.joined_s + (sampling_cell(float(last.times_s[-1]), rate_hz) + 1) / rate_hz


def _truth(
    watched: Sequence[Watched],
    ends: Sequence[float],
    manifest: Manifest,
    owners: tuple[NDArray[np.float64], NDArray[np.int64]],
    *,
    together: bool,
) -> StreamTruth:
    """Neighbouring spans of one label are one run: nobody who sees the stream could tell them apart."""
    spans: list[Run] = []
    for each, start_s, end_s in zip(watched, owners[0].tolist(), ends, strict=True):
        before = len(spans)
        for span in sorted(each.video.spans, key=lambda span: span.start_s):
            shown = max(start_s, span.start_s + each.joined_s), min(end_s, span.end_s + each.joined_s)
            if shown[1] <= shown[0]:
                continue
            if (
                len(spans) > (0 if together else before)
                and spans[-1][2] == span.label
                and shown[0] - spans[-1][1] < 1e-6
            ):
                spans[-1] = (spans[-1][0], shown[1], span.label)
            else:
                spans.append((*shown, span.label))
    events = [span for span in spans if span[2] in manifest.events]
    quiet = [(start_s, end_s) for start_s, end_s, label in spans if label not in manifest.events]
    return StreamTruth(events, quiet, owners, manifest.clip.length_s)
