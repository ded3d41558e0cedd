"""One request of a TensorRT engine: its stream, its pinned and device memory, and a CUDA graph for each batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from engines.arena import pool_input, pool_output
from engines.engine import Array, TensorSpec
from engines.errors import BackendError
from engines.trt_build import bucket_for
from engines.trt_cuda import Buffer, Cuda
from engines.trt_plan import Plan

_POOLS = (pool_input(""), pool_output(""))


class Lane:
    """Runs a plan on a stream of its own, from `fed` (pinned arrays) into `device`, and into `given` if it downloads.

    The copy of one lane's input overlaps the computation of another's. A batch that the plan has no profile for is
    padded to the next: its further rows hold what an earlier run left there, and their answers are not looked at.
    """

    def __init__(self, cuda: Cuda, plan: Plan, *, download: bool) -> None:
        self._cuda, self._plan = cuda, plan
        self._stream, self._event = cuda.stream(), cuda.event()
        self.fed = {spec.name: cuda.pinned(self._most(spec), np.dtype(spec.dtype)) for spec in plan.inputs}
        self.given = {spec.name: cuda.pinned(self._most(spec), np.dtype(spec.dtype)) for spec in plan.outputs}
        self.device: dict[str, Buffer] = {
            name: cuda.buffer(array.nbytes) for name, array in (*self.fed.items(), *self.given.items())
        }
        if not download:
            self.given.clear()
        self._replays: dict[tuple[int, int], Callable[[], None]] = {}

    def prepare(self) -> None:
        """Record every batch's graph now, so that no run has to wait for it later."""
        for batch in self._plan.key.batches:
            self._replay(batch, self._plan.key.rows)

    def launch(self, count: int, rows: int = 0) -> None:
        """Queue a run over the first `count` rows of `fed`; `rows` is the length of the state pools, if there are any.

        Raises:
            BackendError: CUDA or TensorRT refuses, or no profile holds that many.
        """
        batches = self._plan.key.batches
        if count > max(batches):
            most = max(batches)
            raise BackendError(f"{self._plan.key.name} was fed a batch of {count}, its plan holds up to {most}")
        self._replay(bucket_for(batches, count), rows)()
        self._event.record(self._stream)

    def done(self) -> bool:
        """Whether `wait` would return at once."""
        return bool(self._event.query())

    def wait(self) -> None:
        """Wait for what was launched."""
        self._event.synchronize()

    def close(self) -> None:
        """Wait for what is in flight and let go of contexts and memory."""
        self._stream.synchronize()
        self._replays.clear()
        self.device.clear()

    def _replay(self, batch: int, rows: int) -> Callable[[], None]:
        if (batch, rows) not in self._replays:
            work = self._work(batch, rows)
            work()  # one plain run must come before a capture, for TensorRT allocates at the first
            self._stream.synchronize()
            self._replays[batch, rows] = self._cuda.capture(self._stream, work)
        return self._replays[batch, rows]

    def _work(self, batch: int, rows: int) -> Callable[[], None]:
        """What one run queues; the slices and the context live as long as the function."""
        shapes = {spec.name: (_length(spec, batch, rows), *self.fed[spec.name].shape[1:]) for spec in self._plan.inputs}
        addresses = {name: buffer.address for name, buffer in self.device.items()}
        context = self._plan.bind(batch, shapes, addresses, self._stream)
        fed = self._slices(self._plan.inputs, self.fed, batch, rows)
        given = self._slices(self._plan.outputs, self.given, batch, rows)
        return partial(self._queue, context, fed, given)

    def _queue(self, context: Any, fed: list[tuple[str, Array]], given: list[tuple[str, Array]]) -> None:
        for name, array in fed:
            self._cuda.upload(self.device[name].address, array, self._stream)
        self._plan.enqueue(context, self._stream)
        for name, array in given:
            self._cuda.download(array, self.device[name].address, self._stream)

    def _slices(
        self, specs: Iterable[TensorSpec], arrays: dict[str, Array], batch: int, rows: int
    ) -> list[tuple[str, Array]]:
        return [(each.name, arrays[each.name][: _length(each, batch, rows)]) for each in specs if each.name in arrays]

    def _most(self, spec: TensorSpec) -> tuple[int, ...]:
        rest = tuple(length or 0 for length in spec.shape[1:])
        return (_length(spec, max(self._plan.key.batches), self._plan.key.rows), *rest)


def _length(spec: TensorSpec, batch: int, rows: int) -> int:
    return rows if is_pool(spec.name) else batch


def is_pool(name: str) -> bool:
    """Whether a tensor of this name is a pool of state rows, whose first axis is not the batch."""
    return name.startswith(_POOLS)
