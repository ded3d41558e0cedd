"""The batched encoder: pictures of many cameras in, features out, several requests in flight."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from engines.agreement import FEATURES, FRAMES, check_encoder
from engines.backends import BACKENDS, Opened, open_engines, variant_of
from engines.bundle import ENCODER, Bundle
from engines.engine import Engine, EngineOptions
from engines.precision import remembered_precision


class Encoder:
    """A bundle's encoder, compiled for the batches 1, 2, 4, ... and `max_batch`, or once for any batch.

    Which of the two is the back end's: where a compile for a fixed batch is faster than one for any (OpenVINO), batches
    in between are filled up to the next fixed one, so ask `fit` how many pictures go without. One thread owns an
    encoder. Each request is a buffer to fill, then `start`, then `wait`:

        encoder.frames(request)[:count] = pictures
        encoder.start(request, count)
        features = encoder.wait(request)
    """

    lends_features = False  # whether they lie in the request's memory: step them before the request starts again

    def __init__(self, bundle: Bundle, opened: Opened, max_batch: int, requests: int) -> None:
        self._engines: dict[int, Engine] = {}
        for batch, engine in zip(compiled_batches(max_batch), opened.engines, strict=True):
            check_encoder(bundle, engine, batch)
            fixed = engine.inputs[0].shape[0]
            self._engines[fixed or max_batch] = engine
        first = opened.engines[0]
        self.backend, self.version, self.precision, self.device = (
            first.backend,
            first.version,
            first.precision,
            first.device,
        )
        self.why = opened.why
        self.max_batch, self.requests = max_batch, requests
        height, width = bundle.manifest.input.height, bundle.manifest.input.width
        self._frames = [np.zeros((max_batch, height, width, 3), np.uint8) for _ in range(requests)]
        self._running: list[tuple[Engine, int] | None] = [None] * requests

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        backend: str = "auto",
        *,
        max_batch: int = 8,
        requests: int = 2,
        threads: int | None = None,
        precision: str = "f32",
    ) -> Encoder:
        """Load and compile the encoder of `bundle`.

        Args:
            bundle: a bundle whose hashes are checked.
            backend: a name in `engines.backends.BACKENDS`, or `auto`.
            max_batch: most pictures in one request.
            requests: how many requests may be in flight at once.
            threads: threads over all requests; None: one per CPU that this process may use.
            precision: arithmetic inside the graph, `f32`, what the back end has beside it, or `auto` for what
                `vidpipe build` chose here, else `f32`.

        Raises:
            BackendError: no back end, or not the named one, can load the graph.
            MissingExtraError: the named back end is not installed.
            ModelError: the graph contradicts the manifest.
        """
        name = f"{ENCODER} of {bundle.name}"
        options = [
            EngineOptions(name, batch, requests, threads, precision, max_batch) for batch in compiled_batches(max_batch)
        ]
        opened = open_engines(bundle.read(ENCODER), backend, options, remembered=partial(remembered_precision, bundle))
        variant: type[Encoder] = variant_of(cls, BACKENDS[opened.engines[0].backend].encoder)
        return variant(bundle, opened, max_batch, requests)

    def fit(self, count: int) -> int:
        """The most of `count` pictures (at least 1) that run as one batch without filling it up."""
        fitting = [batch for batch, engine in self._engines.items() if batch <= count or not _is_fixed(engine)]
        return min(count, max(fitting, default=1))

    def frames(self, request: int) -> NDArray[np.uint8]:
        """The input buffer of `request`: uint8 `[max_batch, height, width, 3]` BGR, to be written only between runs."""
        return self._frames[request]

    def start(self, request: int, count: int) -> None:
        """Encode the first `count` pictures of the request's buffer in the background.

        Raises:
            ValueError: the request is still running, or `count` is not in 1..max_batch.
        """
        self._check_start(request, running=self._running[request] is not None, count=count)
        size = min(batch for batch in self._engines if batch >= count)
        engine = self._engines[size]
        engine.start(request, {FRAMES: self._frames[request][: size if _is_fixed(engine) else count]})
        self._running[request] = engine, count

    def done(self, request: int) -> bool:
        """Whether `wait(request)` would return at once."""
        return self._started(request)[0].done(request)

    def listen(self, finished: Callable[[int], None]) -> bool:
        """Have `finished(request)` called, from any thread, when a started run ends; False: the back end cannot."""
        heard = [engine.listen(finished) for engine in self._engines.values()]
        return all(heard)

    def wait(self, request: int) -> NDArray[np.float32]:
        """Wait for a started request: float32 `[count, *features]`, an array of the caller's own.

        Raises:
            BackendError: the run failed; the request can be started again.
        """
        engine, count = self._started(request)
        self._running[request] = None
        features: NDArray[np.float32] = engine.wait(request)[FEATURES]
        return features[:count]

    def close(self) -> None:
        """Free the engines; closing twice is allowed."""
        for engine in self._engines.values():
            engine.close()

    def _check_start(self, request: int, *, running: bool, count: int) -> None:
        if running:
            raise ValueError(f"encoder request {request} is running: wait for it before starting it again")
        if not 1 <= count <= self.max_batch:
            raise ValueError(
                f"encoder request {request} was started with {count} pictures, allowed are 1 to {self.max_batch}"
            )

    def _started(self, request: int) -> tuple[Engine, int]:
        running = self._running[request]
        if running is None:
            raise ValueError(f"encoder request {request} was not started")
        return running

    def __enter__(self) -> Encoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def compiled_batches(max_batch: int) -> tuple[int, ...]:
    """The powers of two below `max_batch`, and itself: `(1, 2, 4, 6)`."""
    return (*(2**power for power in range(max_batch.bit_length()) if 2**power < max_batch), max_batch)


def _is_fixed(engine: Engine) -> bool:
    return engine.inputs[0].shape[0] is not None
