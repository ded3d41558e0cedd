"""The clip rule: which steps belong to which clip, and what they add up to.

Serving, training and evaluation share it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from engines.errors import ModelError
from engines.manifest import ClipRule
from engines.sampling_grid import TOLERANCE_S, sampling_cell

Probabilities = npt.NDArray[np.float32]
UNKNOWN = "unknown"
_LITTLE = np.dtype("<f4")


@dataclass(frozen=True)
class Step:
    """One step of the recurrent network: its media time in seconds and class probabilities `[C]`."""

    media_time_s: float
    probabilities: Probabilities


@dataclass(frozen=True)
class Clip:
    """A finished clip: the half-open span `[start_s, end_s)` of media time and what was seen in it."""

    index: int
    start_s: float
    end_s: float
    frames: int
    coverage: float
    first_media_s: float
    last_media_s: float
    probabilities: Probabilities  # [C] float32; aggregated over the clip's steps


Seconds = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
"""A time that was read back: finite, and of a size that arithmetic bears."""


class ClipState(msgspec.Struct, frozen=True, gc=False):
    """Where a `ClipClock` stands: its origin (of clip 0), the clip that closes next, and the steps it still needs.

    `probabilities` are those of the steps, float32 `[len(media_times_s), C]`, little-endian, C order.
    """

    origin_s: Seconds
    next_index: Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]
    media_times_s: tuple[Seconds, ...]
    probabilities: bytes


def warm_from_s(warm_up_s: float, rate_hz: float) -> float:
    """The least age of a state, in seconds since its first step, at which the model counts as warm.

    The first step brings a period of its own, so the warm-up is over one period earlier.
    """
    return warm_up_s - 1.0 / rate_hz - TOLERANCE_S


class ClipClock:
    """Cuts one session into clips `[origin + k * stride_s, origin + k * stride_s + length_s)` by media time.

    A clip closes with the step after which no further one can fall inside it, so that a prediction never waits for the
    next frame. Clips without a single step are skipped. Counting may go on from an earlier clock's clips: then clip
    `first_index` begins at `origin_s`.
    """

    def __init__(self, rule: ClipRule, rate_hz: float, origin_s: float, first_index: int = 0) -> None:
        self._rule = rule
        self._rate_hz = rate_hz
        self._origin_s = origin_s - first_index * rule.stride_s
        self._next = first_index
        self._steps: deque[Step] = deque()

    @property
    def next_index(self) -> int:
        """The number of the clip that closes next."""
        return self._next

    def remember(self) -> ClipState:
        """All that decides about the clips to come."""
        # of a list: CPython makes a generator's tuple too long, cuts it, and keeps 2000 such of each length: a megabyte
        times_s = tuple([step.media_time_s for step in self._steps])
        values = b"".join(step.probabilities.astype(_LITTLE, copy=False).tobytes() for step in self._steps)
        return ClipState(self._origin_s, self._next, times_s, values)

    def recall(self, state: ClipState, labels: int) -> None:
        """Go on where a clock of the same rule and rate stood, whose steps have `labels` probabilities.

        Raises:
            ModelError: the steps do not fit; nothing has changed then.
        """
        count = len(state.media_times_s)
        if len(state.probabilities) != _LITTLE.itemsize * count * labels:
            raise ModelError(
                f"a saved clip has {count} steps in {len(state.probabilities)} bytes, the model has {labels} labels: "
                "start without it"
            )
        values = np.frombuffer(state.probabilities, _LITTLE).astype(np.float32).reshape(count, labels)
        if not np.isfinite(values).all():
            raise ModelError("a saved clip has probabilities that are no numbers: start without it")
        self._origin_s, self._next = state.origin_s, state.next_index
        self._steps = deque(map(Step, state.media_times_s, values))

    def add(self, step: Step) -> list[Clip]:
        """Take the next step in order and return the clips that it closes, oldest first."""
        closed = self._close_before(step.media_time_s + TOLERANCE_S)
        self._steps.append(step)
        next_cell_s = (sampling_cell(step.media_time_s, self._rate_hz) + 1) / self._rate_hz
        return closed + self._close_before(next_cell_s + TOLERANCE_S)

    def _close_before(self, time_s: float) -> list[Clip]:
        closed = []
        while self._end_s(self._next) <= time_s:
            clip = self._cut(self._next)
            if clip is not None:
                closed.append(clip)
            self._next = self._following(time_s)
            self._forget()
        return closed

    def _following(self, time_s: float) -> int:
        """The next clip worth looking at: after a long gap, the first that could hold a step kept or to come."""
        first_s = self._steps[0].media_time_s if self._steps else time_s
        earliest = int((first_s - self._origin_s - self._rule.length_s) / self._rule.stride_s)
        return max(self._next + 1, earliest)

    def _start_s(self, index: int) -> float:
        return self._origin_s + index * self._rule.stride_s

    def _end_s(self, index: int) -> float:
        return self._start_s(index) + self._rule.length_s

    def _cut(self, index: int) -> Clip | None:
        start, end = self._start_s(index), self._end_s(index)
        inside = [s for s in self._steps if start - TOLERANCE_S <= s.media_time_s < end - TOLERANCE_S]
        if not inside:
            return None
        coverage = min(1.0, len(inside) / max(1.0, self._rule.length_s * self._rate_hz))
        probabilities = aggregate(np.stack([s.probabilities for s in inside]), self._rule.aggregate)
        first_s, last_s = inside[0].media_time_s, inside[-1].media_time_s
        return Clip(index, start, end, len(inside), coverage, first_s, last_s, probabilities)

    def _forget(self) -> None:
        while self._steps and self._steps[0].media_time_s < self._start_s(self._next) - TOLERANCE_S:
            self._steps.popleft()


def aggregate(probabilities: Probabilities, how: str) -> Probabilities:
    """Combine step probabilities `[T, C]` into one `[C]`: `mean`, `last`, or `max` (normalised to sum 1)."""
    if how == "last":
        return np.asarray(probabilities[-1], np.float32)
    if how == "max":
        peak = probabilities.max(axis=0)
        return np.asarray(peak / peak.sum(), np.float32)
    return np.asarray(probabilities.mean(axis=0), np.float32)


def decide(clip: Clip, labels: tuple[str, ...], min_coverage: float) -> str:
    """The clip's label: the most probable one, or `unknown` where too few frames were seen."""
    return labels[int(clip.probabilities.argmax())] if clip.coverage >= min_coverage else UNKNOWN
