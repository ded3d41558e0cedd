"""Sampling on the media clock: which grabbed frames are due, and how a backlog thins them evenly in time."""

from __future__ import annotations

from engines.sampling_grid import cell_start, sampling_cell

_LEAST_PATIENCE_S = 0.1
_PATIENCE_STRIDES = 1.25
_STRETCH = 0.5  # of the stride, for a wait of twice the patience
_LEARN = 0.1  # of the way from the stride to a gap that the backlog forced
_RELAX = 0.002  # of the stride, for each cell in which nothing was held back
_SURE_AFTER_CELLS = 10
_MAX_STRIDE = 64.0
_ROOM = 0.5  # share of free slots from which on no frame is left out for want of them; half of it: every second


class Sampler:
    """Takes one frame in every `stride` sampling cells of `1 / rate_hz` seconds: the first of its cell.

    The stride is a real number: with 2.5, gaps of 2 and 3 cells take turns. It is 1 until the reader falls behind, that
    is, until it takes a frame that has waited for longer than a stride; a burst of frames, as RTSP gives at its start,
    is none. Then frames are held back until the reader has come nearer, so that the queue stays short from the first
    moment on, and the stride learns the gap that this makes. Otherwise it shrinks, slowly while frames still wait for
    their turn and faster the longer none did. So the rate settles at the reader's own, whatever that is, and an
    overloaded pipeline sees a slower but even stream, never a burst of loss.

    A reader that stands still, as on a machine that does something else for a moment, is another matter: it loses
    nothing until half of its queue is full, then ever more the less room is left, and the stride learns nothing of it.
    """

    def __init__(self, rate_hz: float, *, thin: bool) -> None:
        self._rate_hz = rate_hz
        self._thin = thin
        self._cell: int | None = None
        self._kept: int | None = None
        self._next = 0.0
        self._held = False
        self._idle_cells = 0
        self.stride = 1.0

    def due(self, media_ns: int) -> bool:
        """True for the first frame of a new cell: the frame belongs to the model's rate."""
        cell = sampling_cell(media_ns / 1e9, self._rate_hz)
        if self._cell is not None and cell <= self._cell:
            return False
        self._cell = cell
        return True

    def next_due_ns(self) -> int:
        """Media time from which on a frame falls into a new cell; 0 before the first."""
        return 0 if self._cell is None else round(cell_start(self._cell + 1, self._rate_hz) * 1e9)

    def keep(self, lag_ns: int, room: float = 1.0) -> bool:
        """Whether the due frame is kept; call once per due frame.

        Args:
            lag_ns: how far the reader is behind, 0 for one that stands still (`RollingBuffer.lag_ns`).
            room: share of the queue that is free.
        """
        cell = self._cell or 0
        if not self._thin:
            return True
        if self._kept is not None:
            gap = cell - self._kept
            if cell < self._next or gap * room < _ROOM or self._holds_back(gap, lag_ns / 1e9 * self._rate_hz):
                return False
            self._adapt(gap, waiting=room < 1)
        # counted on from where the frame should have been, so that the gaps add up to the stride
        self._next = (self._next if self._next > cell - 1 else cell) + self.stride
        self._kept, self._held = cell, False
        return True

    def _holds_back(self, gap: int, lag_cells: float) -> bool:
        """Whether the reader is so far behind that the gap must grow; the longer the wait, the larger the gap."""
        patience = max(_LEAST_PATIENCE_S * self._rate_hz, _PATIENCE_STRIDES * self.stride)
        if lag_cells <= patience:
            return False
        self._held = True
        return gap < self.stride * (1 + _STRETCH * (lag_cells / patience - 1))

    def _adapt(self, gap: int, *, waiting: bool) -> None:
        if self._held:
            self._idle_cells = 0
            forced = min(max(gap, self.stride), 2 * self.stride)  # one long stall says little about the rate
            self.stride = min(self.stride + _LEARN * (forced - self.stride), _MAX_STRIDE)
            return
        self._idle_cells = 0 if waiting else self._idle_cells + gap
        relaxed = _RELAX * gap * (1 + self._idle_cells / _SURE_AFTER_CELLS)
        self.stride = max(1.0, self.stride * (1 - relaxed))
