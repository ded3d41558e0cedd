"""Marked intervals of one video: checked against each other, joined, and the time between them filled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.datasets.labelled import Span
from engines.errors import DataError
from engines.sampling_grid import TOLERANCE_S
from engines.training.sequences import UNLABELLED


@dataclass(frozen=True)
class Marked:
    """One interval and where it was written, for messages."""

    where: str
    span: Span


def to_spans(marked: Sequence[Marked], background: str) -> tuple[Span, ...]:
    """Spans in order of time; overlapping marks of one label become one, unmarked time gets `background` if any.

    Raises:
        DataError: two marks are the same, or overlap and differ in their labels.
    """
    _check_twice(marked)
    spans: list[Span] = []
    last: Marked | None = None
    for mark in sorted(marked, key=lambda mark: (mark.span.start_s, mark.span.end_s)):
        if last is None or mark.span.start_s >= spans[-1].end_s:
            spans.append(mark.span)
            last = mark
            continue
        _check_labels(last, mark)
        if mark.span.end_s > spans[-1].end_s:
            spans[-1] = Span(spans[-1].start_s, mark.span.end_s, mark.span.label)
            last = mark
    return tuple(_filled(spans, background) if background else spans)


def inside(times_s: npt.NDArray[np.float64], span: Span) -> npt.NDArray[np.bool_]:
    """Which of the times `[F]` lie in a span; as in clips, a frame a hair before an edge counts as on it."""
    return (times_s >= span.start_s - TOLERANCE_S) & (times_s < span.end_s - TOLERANCE_S)


def labels_at(times_s: npt.NDArray[np.float64], spans: Sequence[Span], labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """The index of the label at each time `[F]`, `UNLABELLED` outside of all spans."""
    found = np.full(len(times_s), UNLABELLED, np.int64)
    for span in spans:
        found[inside(times_s, span)] = labels.index(span.label)
    return found


def _check_twice(marked: Sequence[Marked]) -> None:
    first: dict[Span, str] = {}
    for mark in marked:
        if mark.span in first:
            raise DataError(f"{mark.where}: the same as {first[mark.span]}: remove one of the two rows")
        first[mark.span] = mark.where


def _check_labels(earlier: Marked, later: Marked) -> None:
    if later.span.label != earlier.span.label:
        raise DataError(
            f"{later.where}: the interval {_shown(later.span)} overlaps {_shown(earlier.span)} in {earlier.where}: "
            "one moment has one label, so shorten one of them"
        )


def _shown(span: Span) -> str:
    end = "the end" if math.isinf(span.end_s) else f"{span.end_s:g} s"
    return f"of {span.label!r} from {span.start_s:g} s to {end}"


def _filled(spans: Sequence[Span], background: str) -> list[Span]:
    filled, at_s = [], 0.0
    for span in spans:
        if span.start_s > at_s:
            filled.append(Span(at_s, span.start_s, background))
        filled.append(span)
        at_s = span.end_s
    if math.isfinite(at_s):
        filled.append(Span(at_s, math.inf, background))
    return filled
