"""The recurrent step on a GPU: features from the encoder's memory, state that never leaves the device, one launch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.agreement import DT, FEATURES, KEEP, LOGITS, OK, PROB, check_temporal
from engines.arena import ROWS, pool_input, pool_output
from engines.backends import Opened
from engines.bundle import Bundle
from engines.engine import Engine, TensorSpec
from engines.errors import BackendError
from engines.feeds import check_feeds
from engines.manifest import StateTensor
from engines.state_pool import StatePool
from engines.temporal import StepResult, Temporal
from engines.trt_build import bucket_for
from engines.trt_encoder import DeviceFeatures
from engines.trt_engine import TensorRtEngine
from engines.trt_rows import DeviceRows

_STAGED = (ROWS, DT, KEEP)
_ANSWERS = (PROB, LOGITS, OK)


class DeviceTemporal(Temporal):
    """`Temporal` on TensorRT. The plan holds `temporal.onnx` with pools inside (`engines.arena`).

    For every batch of the plan there are two graphs, one for each direction between the pool's two copies.
    """

    def __init__(self, bundle: Bundle, opened: Opened, capacity: int, max_batch: int | None = None) -> None:
        engine = self._device = cast("TensorRtEngine", opened.engines[0])
        self._engine = engine
        check_temporal(bundle, cast("Engine", _unpooled(engine, bundle.manifest.state)))
        self.backend, self.version, self.device = engine.backend, engine.version, engine.device
        self.precision, self.why = engine.precision, opened.why
        self._features, self._labels = bundle.manifest.step_features, len(bundle.manifest.labels)
        self._state = bundle.manifest.state
        self._max_batch = max_batch
        self._name = f"the step of {bundle.name}"
        self._cuda = engine.cuda
        self._spare = capacity  # the row that padding steps
        shapes = {state.input: state.shape for state in self._state}
        with self._cuda.active(), self._cuda.errors(f"TensorRT cannot prepare {self._name}"):
            self._stream = self._cuda.stream()
            self._rows = DeviceRows(self._cuda, shapes, capacity + 1, self._stream)
            self.pool = StatePool(bundle.manifest, bundle.sha, capacity, self._rows)
            self._allocate()
            self._replays = {
                (copy, batch): self._prepare(copy, batch) for copy in (0, 1) for batch in engine.plan.key.batches
            }

    def step(self, rows: ArrayLike, features: NDArray[np.float32], dt: ArrayLike, keep: ArrayLike) -> StepResult:
        """See `Temporal.step`; `DeviceFeatures` are taken where they are."""
        index = self._index(rows)
        if not index.size:
            return self._nothing()
        staged = {ROWS: index.astype(np.int32), DT: np.asarray(dt, np.float32), KEEP: np.asarray(keep, np.float32)}
        self._check(features, staged, len(index))
        for name, array in staged.items():
            self._fed[name][: len(index)] = array
        self._fed[ROWS][len(index) :] = self._spare
        with self._cuda.active(), self._cuda.errors(f"TensorRT cannot run {self._name}"):
            self._take(features)
            self._replays[self._rows.current, bucket_for(self._device.plan.key.batches, len(index))]()
            self._stream.synchronize()
        self._rows.flip()
        prob, logits, ok = (self._given[name][: len(index)].copy() for name in _ANSWERS)
        return StepResult(prob, logits, ok > 0.5)

    def close(self) -> None:
        """See `Temporal.close`."""
        with self._cuda.active():
            self._stream.synchronize()
            self._replays.clear()
            self._buffers.clear()
            self._rows.close()
        self._device.close()

    def _allocate(self) -> None:
        most = max(self._device.plan.key.batches)
        kinds = {ROWS: np.dtype(np.int32)}
        self._fed = {name: self._cuda.pinned((most,), kinds.get(name, np.dtype(np.float32))) for name in _STAGED}
        self._fed[ROWS].fill(self._spare)  # padding, and what the runs before the captures step
        float32 = np.dtype(np.float32)
        self._given = {name: self._cuda.pinned((most, self._labels), float32) for name in (PROB, LOGITS)}
        self._given[OK] = self._cuda.pinned((most,), float32)
        self._staging = self._cuda.pinned((most, *self._features), float32)
        self._buffers = {
            name: self._cuda.buffer(array.nbytes) for name, array in (*self._fed.items(), *self._given.items())
        }
        self._buffers[FEATURES] = self._cuda.buffer(self._staging.nbytes)
        self._cuda.clear(self._buffers[FEATURES].address, self._staging.nbytes, self._stream)

    def _prepare(self, copy: int, batch: int) -> Callable[[], None]:
        """The graph that steps one batch from one copy of the pool into the other."""
        addresses = {name: buffer.address for name, buffer in self._buffers.items()}
        addresses |= {pool_input(name): at for name, at in self._rows.addresses(copy).items()}
        addresses |= {pool_output(name): at for name, at in self._rows.addresses(1 - copy).items()}
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_STAGED, (batch,))
        shapes[FEATURES] = (batch, *self._features)
        shapes |= {pool_input(state.input): (self._spare + 1, *state.shape) for state in self._state}
        context = self._device.plan.bind(batch, shapes, addresses, self._stream)
        work = partial(self._queue, context, batch)
        work()  # one plain run must come before a capture, for TensorRT allocates at the first
        self._stream.synchronize()
        return self._cuda.capture(self._stream, work)

    def _queue(self, context: Any, batch: int) -> None:
        for name, array in self._fed.items():
            self._cuda.upload(self._buffers[name].address, array[:batch], self._stream)
        self._device.plan.enqueue(context, self._stream)
        for name, array in self._given.items():
            self._cuda.download(array[:batch], self._buffers[name].address, self._stream)

    def _take(self, features: NDArray[np.float32] | DeviceFeatures) -> None:
        """Queue the copy of the features to where the graphs read them."""
        target = self._buffers[FEATURES].address
        if isinstance(features, DeviceFeatures) and features.on_device:
            self._cuda.copy(target, features.address, features.nbytes, self._stream)
            return
        staged = self._staging[: len(features)]
        staged[...] = np.asarray(features)
        self._cuda.upload(target, staged, self._stream)

    def _check(self, features: NDArray[np.float32], staged: dict[str, NDArray[Any]], count: int) -> None:
        specs = [TensorSpec(FEATURES, "float32", (count, *self._features))]
        specs += [TensorSpec(name, "float32", (count,)) for name in (DT, KEEP)]
        check_feeds(self._name, specs, {FEATURES: features, DT: staged[DT], KEEP: staged[KEEP]})
        most = max(self._device.plan.key.batches)
        if count > most:
            raise BackendError(f"{self._name} was fed {count} rows, its plan holds up to {most}")


@dataclass(frozen=True)
class _Unpooled:
    """A pooled step's tensors under the names that the manifest knows."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def _unpooled(engine: TensorRtEngine, state: tuple[StateTensor, ...]) -> _Unpooled:
    names = {pool_input(each.input): each.input for each in state} | {
        pool_output(each.input): each.output for each in state
    }
    inputs, outputs = (
        tuple(
            TensorSpec(names.get(spec.name, spec.name), spec.dtype, spec.shape) for spec in specs if spec.name != ROWS
        )
        for specs in (engine.inputs, engine.outputs)
    )
    return _Unpooled(inputs, outputs)
