"""The batched encoder: pictures of many cameras in, features out, several requests in flight."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from engines.agreement import FEATURES, FRAMES, check_encoder
from engines.backends import Opened, open_engines
from engines.bundle import ENCODER, Bundle
from engines.engine import Engine, EngineOptions


class Encoder:
    """A bundle's encoder, compiled for the batch sizes 1, 2, 4, ... up to `max_batch`.

    A compile for a fixed batch is faster than one for any batch, so a batch runs in the smallest size that holds it.
    One thread owns an encoder. Each request is a buffer to fill, then `start`, then `wait`:

        encoder.frames(request)[:count] = pictures
        encoder.start(request, count)
        features = encoder.wait(request)
    """

    def __init__(self, bundle: Bundle, opened: Opened, max_batch: int, requests: int) -> None:
        for engine in opened.engines:
            check_encoder(bundle, engine)
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
        self._engines = dict(zip(batch_sizes(max_batch), opened.engines, strict=True))
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
            precision: arithmetic inside the graph, `f32` or what the back end has beside it.

        Raises:
            BackendError: no back end, or not the named one, can load the graph.
            MissingExtraError: the named back end is not installed.
            ModelError: the graph contradicts the manifest.
        """
        name = f"{ENCODER} of {bundle.name}"
        options = [EngineOptions(name, batch, requests, threads, precision) for batch in batch_sizes(max_batch)]
        return cls(bundle, open_engines(bundle.read(ENCODER), backend, options), max_batch, requests)

    def frames(self, request: int) -> NDArray[np.uint8]:
        """The input buffer of `request`: uint8 `[max_batch, height, width, 3]` BGR, to be written only between runs."""
        return self._frames[request]

    def start(self, request: int, count: int) -> None:
        """Encode the first `count` pictures of the request's buffer in the background.

        Raises:
            ValueError: the request is still running, or `count` is not in 1..max_batch.
        """
        if self._running[request] is not None:
            raise ValueError(f"encoder request {request} is running: wait for it before starting it again")
        if not 1 <= count <= self.max_batch:
            raise ValueError(
                f"encoder request {request} was started with {count} pictures, allowed are 1 to {self.max_batch}"
            )
        batch = next(size for size in self._engines if size >= count)
        engine = self._engines[batch]
        engine.start(request, {FRAMES: self._frames[request][:batch]})
        self._running[request] = engine, count

    def done(self, request: int) -> bool:
        """Whether `wait(request)` would return at once."""
        return self._started(request)[0].done(request)

    def wait(self, request: int) -> NDArray[np.float32]:
        """Wait for a started request: float32 `[count, *features]`, an array of the caller's own.

        Raises:
            BackendError: the run failed; the request can be started again.
        """
        engine, count = self._started(request)
        self._running[request] = None
        features: NDArray[np.float32] = engine.wait(request)[FEATURES].astype(np.float32, copy=False)
        return features[:count]

    def close(self) -> None:
        """Free the engines; closing twice is allowed."""
        for engine in self._engines.values():
            engine.close()

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


def batch_sizes(max_batch: int) -> tuple[int, ...]:
    """The powers of two below `max_batch`, then `max_batch` itself: `batch_sizes(6)` is `(1, 2, 4, 6)`."""
    sizes = []
    size = 1
    while size < max_batch:
        sizes.append(size)
        size *= 2
    return (*sizes, max_batch)
