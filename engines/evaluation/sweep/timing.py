"""What one frame of one camera costs: encoder and step of several bundles, timed in turns in one run.

A machine's speed drifts within minutes, so only times taken side by side can be compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from engines.bundle import Bundle
from engines.encoder import Encoder
from engines.evaluation.sweep.record import Timing
from engines.temporal import Temporal

ROUNDS = 12
FRAMES = 8
"""Frames of one model before it is the next one's turn; the first of them is not counted."""


@dataclass
class _Timed:
    encoder: Encoder
    temporal: Temporal
    row: int
    features: np.ndarray
    encoder_ms: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        nominal_s = np.full(1, 0.1, np.float32)
        for frame in range(FRAMES):
            encoder_ms = _spent_ms(self._encode)
            step_ms = _spent_ms(lambda: self.temporal.step([self.row], self.features, nominal_s, [True]))
            if frame:
                self.encoder_ms.append(encoder_ms)
                self.step_ms.append(step_ms)

    def _encode(self) -> None:
        self.encoder.start(0, 1)
        self.encoder.wait(0)


def time_bundles(
    bundles: Sequence[tuple[str, int, Bundle]], backend: str, *, threads: int | None
) -> tuple[list[Timing], str]:
    """Timings of bundles, each with its family and size, and the name of the back end.

    Raises:
        BackendError: the back end cannot run one of them.
    """
    with ExitStack() as stack:
        timed = []
        for _, _, bundle in bundles:
            encoder = stack.enter_context(Encoder.open(bundle, backend, max_batch=1, requests=1, threads=threads))
            temporal = stack.enter_context(Temporal.open(bundle, encoder.backend, capacity=1, max_batch=1))
            features = np.zeros((1, *bundle.manifest.step_features), np.float32)
            timed.append(_Timed(encoder, temporal, temporal.pool.acquire("camera"), features))
        for _ in range(ROUNDS):
            for each in timed:
                each.take_turn()
        first = timed[0].encoder
        name = f"{first.backend} {first.version} {first.precision} on {first.device}"
    timings = [
        Timing(family, size, round(statistics.median(each.encoder_ms), 3), round(statistics.median(each.step_ms), 3))
        for (family, size, _), each in zip(bundles, timed, strict=True)
    ]
    return timings, name


def _spent_ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)
