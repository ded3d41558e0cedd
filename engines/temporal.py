"""The stateful step: features of many cameras in, predictions out, each camera's memory kept in its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.agreement import DT, FEATURES, KEEP, LOGITS, OK, PROB, check_temporal
from engines.backends import BACKENDS, Opened, open_engines, variant_of
from engines.bundle import TEMPORAL, Bundle
from engines.engine import Array, Engine, EngineOptions, shape_text
from engines.errors import BackendError
from engines.feeds import check_feeds
from engines.state_pool import Rows, StatePool


@dataclass(frozen=True)
class StepResult:
    """What one step said of N cameras: `prob` and `logits` float32 `[N, labels]`, `ok` bool `[N]`.

    Where `ok` is False the row went non-finite: its answer means nothing, and its state was set to zero.
    """

    prob: NDArray[np.float32]
    logits: NDArray[np.float32]
    ok: NDArray[np.bool_]


class Temporal:
    """A bundle's recurrent step with the state of up to `capacity` cameras; one thread owns it.

        row = temporal.pool.acquire("camera0")
        result = temporal.step([row], features, dt, keep)

    The step always runs in float32: state in less drifts, in the worst case to 39 % other decisions in 1000 steps.
    """

    def __init__(self, bundle: Bundle, opened: Opened, capacity: int, max_batch: int | None = None) -> None:
        (self._engine,) = opened.engines
        check_temporal(bundle, self._engine, max_batch)
        self._feeds = _fixed_feeds(self._engine)
        self._free_inputs = [replace(spec, shape=(None, *spec.shape[1:])) for spec in self._engine.inputs]
        self._max_batch = max_batch
        self._name = f"{TEMPORAL} of {bundle.name}"
        self.backend, self.version, self.device = self._engine.backend, self._engine.version, self._engine.device
        self.precision = self._engine.precision
        self.why = opened.why
        self.pool = StatePool(bundle.manifest, bundle.sha, capacity)
        self._labels = len(bundle.manifest.labels)

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        backend: str = "auto",
        *,
        capacity: int = 64,
        max_batch: int | None = None,
        threads: int = 1,
    ) -> Temporal:
        """Load and compile the step of `bundle`; one thread, since a step is too small to share.

        With `max_batch`, steps have at most so many rows, and a back end that gains by it (OpenVINO: 0.4 ms instead of
        0.7 beside a busy encoder) is compiled for just that many; shorter steps are filled up.

        Raises:
            BackendError: no back end, or not the named one, can load the graph.
            MissingExtraError: the named back end is not installed.
            ModelError: the graph contradicts the manifest.
        """
        model = bundle.read(TEMPORAL)
        options = EngineOptions(
            f"{TEMPORAL} of {bundle.name}",
            batch=max_batch,
            threads=threads,
            max_batch=_up(capacity, least=16),
            rows=_up(capacity + 1, least=64),
        )
        opened = open_engines(model, backend, [options], pooled=lambda: _pooled(bundle, model))
        variant: type[Temporal] = variant_of(cls, BACKENDS[opened.engines[0].backend].temporal)
        return variant(bundle, opened, capacity, max_batch)

    def step(self, rows: ArrayLike, features: NDArray[np.float32], dt: ArrayLike, keep: ArrayLike) -> StepResult:
        """Step N different cameras once.

        Args:
            rows: N rows of the pool, in use and all different.
            features: float32 `[N, *step_features]`, what the encoder made of each camera's frame, and behind it further
                inputs where the model has some (`engines.further.pack`).
            dt: N times in seconds since each camera's last step.
            keep: N truth values; where it is false the row starts afresh, and its dt counts as `1 / fps`.

        Raises:
            ValueError: a row is not in use or comes twice, or there are more than `max_batch`.
            BackendError: an array has another shape than N rows, or the run failed; no row has changed.
        """
        index = self._index(rows)
        if not index.size:
            return self._nothing()
        state = self.pool.gather(index)
        # what a GPU's encoder gave may have to come down from there
        feeds = {
            FEATURES: np.asarray(features),
            DT: np.asarray(dt, np.float32),
            KEEP: np.asarray(keep, np.float32),
            **state,
        }
        outputs = self._run(feeds, index.size)
        self.pool.scatter(index, outputs)
        ok = outputs[OK] > 0.5
        if not ok.all():
            self.pool.zero(index[~ok])
        return StepResult(
            outputs[PROB].astype(np.float32, copy=False), outputs[LOGITS].astype(np.float32, copy=False), ok
        )

    def close(self) -> None:
        """Free the engine; closing twice is allowed."""
        self._engine.close()

    def _index(self, rows: ArrayLike) -> Rows:
        index = np.asarray(rows, np.int64)
        self.pool.check(index)
        if self._max_batch is not None and index.size > self._max_batch:
            raise ValueError(f"a step of {index.size} rows was asked of one that was opened for {self._max_batch}")
        return index

    def _run(self, feeds: Mapping[str, Array], count: int) -> Mapping[str, Array]:
        if not self._feeds:
            return self._engine.run(feeds)
        check_feeds(self._name, self._free_inputs, feeds)
        for name, array in feeds.items():
            if len(array) != count:
                raise BackendError(
                    f"{self._name} was fed {name} as {shape_text(array.shape)} in a step of {count} rows"
                )
            self._feeds[name][:count] = array
        return {name: array[:count] for name, array in self._engine.run(self._feeds).items()}

    def _nothing(self) -> StepResult:
        empty = np.zeros((0, self._labels), np.float32)
        return StepResult(empty, empty, np.zeros(0, np.bool_))

    def __enter__(self) -> Temporal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _fixed_feeds(engine: Engine) -> dict[str, Array]:
    """The inputs of an engine with a fixed batch, kept so that it always reads the same memory; else none."""
    if engine.inputs[0].shape[0] is None:
        return {}
    return {spec.name: np.zeros([length or 0 for length in spec.shape], spec.dtype) for spec in engine.inputs}


def _pooled(bundle: Bundle, model: bytes) -> bytes:
    """The step with pools inside, for a back end that keeps state on its device."""
    from engines.arena import with_arena  # noqa: PLC0415 - needs onnx

    return with_arena(model, [(state.input, state.output) for state in bundle.manifest.state])


def _up(count: int, *, least: int) -> int:
    """The next power of two, so that what is compiled for one number of cameras serves others as well."""
    return max(least, 1 << (count - 1).bit_length())
