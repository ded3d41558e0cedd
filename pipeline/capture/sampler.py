"""Sampling on the media clock: which grabbed frames are due, and how a backlog thins them evenly in time."""

from __future__ import annotations

from engines.clips import sampling_cell

_MAX_STRIDE = 8
_RELAX_AFTER_CELLS = 10
_RELAX_AT_LAST_CELLS = 640
_LAG_LIMIT_S = 0.1


class Sampler:
    """Takes the first frame of every `stride`-th sampling cell of `1 / rate_hz` seconds.

    The stride is 1 until the reader falls behind; then it grows by one, and shrinks again after a quiet while, so that
    an overloaded pipeline sees a slower but even stream and never a burst of loss. Behind means that a frame has waited
    for long: a burst of frames, as RTSP gives at its start, is none.
    """

    def __init__(self, rate_hz: float, *, thin: bool) -> None:
        self._rate_hz = rate_hz
        self._thin = thin
        self._lag_limit_ns = max(_LAG_LIMIT_S, 1 / rate_hz) * 1e9
        self._cell: int | None = None
        self._kept: int | None = None
        self._changed = 0
        self._relax_after = _RELAX_AFTER_CELLS
        self._relaxed = False
        self.stride = 1

    def due(self, media_ns: int) -> bool:
        """True for the first frame of a new cell: the frame belongs to the model's rate."""
        cell = sampling_cell(media_ns / 1e9, self._rate_hz)
        if self._cell is not None and cell <= self._cell:
            return False
        self._cell = cell
        return True

    def keep(self, lag_ns: int) -> bool:
        """Whether the due frame is kept, given how long the oldest frame has waited; call once per due frame."""
        cell = self._cell or 0
        if self._thin:
            self._adapt(cell, lag_ns)
        if self._kept is not None and cell - self._kept < self.stride:
            return False
        self._kept = cell
        return True

    def _adapt(self, cell: int, lag_ns: int) -> None:
        since = cell - self._changed
        if lag_ns > self._lag_limit_ns:
            if self.stride == 1 or since >= 2 * self.stride:
                # a faster rate that did not last is tried again later and later: even beats a little faster
                failed = self._relaxed and since <= _RELAX_AFTER_CELLS
                self._relax_after = min(2 * self._relax_after, _RELAX_AT_LAST_CELLS) if failed else _RELAX_AFTER_CELLS
                self.stride, self._changed, self._relaxed = min(self.stride + 1, _MAX_STRIDE), cell, False
        elif self.stride > 1 and since >= self._relax_after:
            self.stride, self._changed, self._relaxed = self.stride - 1, cell, True
