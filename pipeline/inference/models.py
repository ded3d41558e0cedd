"""A model that is open: its bundle with the encoder and the step that run it, for some number of cameras."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.encoder import Encoder
from engines.engine import AUTO_PRECISION, FULL_PRECISION
from engines.temporal import Temporal
from pipeline.inference.batch_size import best_batch
from pipeline.stream.messages import ModelInfo

if TYPE_CHECKING:
    from engines.bundle import Bundle
    from pipeline.config.schema import Inference

_SPARE_ROWS = 8  # for cameras that a reload adds


@dataclass(frozen=True)
class OpenModel:
    """What runs one bundle."""

    bundle: Bundle
    encoder: Encoder
    temporal: Temporal
    max_batch: int
    settings: Inference
    best_batch: int | None = None
    """The largest batch for frames that come one by one, where that was timed."""

    @property
    def info(self) -> ModelInfo:
        """What messages say of it."""
        manifest = self.bundle.manifest
        return ModelInfo(manifest.name, manifest.version, self.bundle.sha, self.encoder.backend, self.encoder.precision)

    def fits(self, bundle: Bundle, cameras: int) -> bool:
        """Whether it can go on as it is with this bundle and so many cameras."""
        batch = min(self.settings.max_batch, cameras)
        return bundle.sha == self.bundle.sha and cameras <= self.temporal.pool.capacity and batch <= self.max_batch

    def describe(self) -> str:
        """One line: what runs, on what, and why."""
        encoder, manifest = self.encoder, self.bundle.manifest
        engine = f"{encoder.backend} {encoder.version.split('-')[0]}"
        chosen = self.settings.precision == AUTO_PRECISION and encoder.precision != FULL_PRECISION
        why = ", chosen by vidpipe build" if chosen else ""
        precision = f"encoder {encoder.precision}{why}, step {self.temporal.precision}"
        return f"model {self.bundle.name} {manifest.version} on {engine} ({precision}): {encoder.why.split(';')[0]}"

    def close(self) -> None:
        """Free both engines; closing twice is allowed."""
        self.temporal.close()
        self.encoder.close()


def open_model(bundle: Bundle, settings: Inference, cameras: int, *, timed: bool = False) -> OpenModel:
    """Load and compile a bundle for so many cameras, and a few more; `timed` finds the best batch as well.

    Raises:
        BackendError: no back end, or not the named one, can load a graph.
        MissingExtraError: the named back end is not installed.
        ModelError: a graph contradicts the manifest.
    """
    max_batch = min(settings.max_batch, cameras)
    with ExitStack() as stack:
        encoder = Encoder.open(
            bundle, settings.backend, max_batch=max_batch, threads=settings.threads, precision=settings.precision
        )
        stack.callback(encoder.close)
        temporal = Temporal.open(bundle, settings.backend, capacity=cameras + _SPARE_ROWS, max_batch=max_batch)
        stack.callback(temporal.close)
        best = best_batch(encoder) if timed else None
        stack.pop_all()
    return OpenModel(bundle, encoder, temporal, max_batch, settings, best)
