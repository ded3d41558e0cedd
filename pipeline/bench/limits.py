"""The bare limits: what decoding, encoding and stepping cost here with nothing around them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from engines.bundle import Bundle
from engines.encoder import Encoder
from engines.temporal import Temporal

_WARM_UP = 5


class EncoderCost(msgspec.Struct, frozen=True):
    """One batch size of the encoder: milliseconds of a lone run, and pictures a second with two requests in flight."""

    batch: int
    alone_ms: float
    pictures_per_s: float


class Limits(msgspec.Struct, frozen=True):
    """Costs in milliseconds: of one core for `grab`, `convert` and `step`, of the whole machine for the encoder."""

    cores: int
    backend: str
    precision: str
    grab_ms: float
    convert_ms: float
    step_ms: float
    encoder: tuple[EncoderCost, ...]

    @property
    def best(self) -> EncoderCost:
        """The batch size with the most pictures a second."""
        return max(self.encoder, key=lambda cost: cost.pictures_per_s)

    def cameras(self, source_hz: float, rate_hz: float) -> float:
        """How many cameras the machine could carry if nothing but decoding, encoding and stepping cost time."""
        encode_ms = 1e3 * self.cores / self.best.pictures_per_s
        per_camera_ms = source_hz * self.grab_ms + rate_hz * (self.convert_ms + encode_ms + self.step_ms)
        return 1e3 * self.cores / per_camera_ms


def measure_limits(bundle: Bundle, video: Path, backend: str, seconds: float = 2.0) -> Limits:
    """Measure each stage by itself for about so many seconds.

    Raises:
        ModelError: the bundle does not run on the back end.
    """
    grab_ms, convert_ms = _decoding(bundle, video)
    with Encoder.open(bundle, backend, max_batch=8, requests=2) as encoder:
        costs = tuple(_encoding(encoder, batch, seconds) for batch in (1, 2, 4, 8))
        with Temporal.open(bundle, backend, capacity=8) as temporal:
            step_ms = _stepping(temporal, bundle, seconds)
        cores = len(os.sched_getaffinity(0))
        return Limits(cores, encoder.backend, encoder.precision, grab_ms, convert_ms, step_ms, costs)


def _decoding(bundle: Bundle, video: Path) -> tuple[float, float]:
    """Milliseconds of `grab`, and of `retrieve` and resize, per frame, on one decoder thread."""
    import cv2  # noqa: PLC0415 - only capture decodes

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    size = (bundle.manifest.input.width, bundle.manifest.input.height)
    grabs: list[float] = []
    converts: list[float] = []
    while _timed(capture.grab, grabs):
        converts.append(0.0)
        started_s = time.perf_counter()
        cv2.resize(capture.retrieve()[1], size, interpolation=cv2.INTER_AREA)
        converts[-1] = time.perf_counter() - started_s
    capture.release()
    return 1e3 * median(grabs), 1e3 * median(converts)


def _timed(call: Callable[[], bool], times_s: list[float]) -> bool:
    started_s = time.perf_counter()
    result = call()
    times_s.append(time.perf_counter() - started_s)
    return result


def _encoding(encoder: Encoder, batch: int, seconds: float) -> EncoderCost:
    noise = np.random.default_rng(0).integers(0, 255, encoder.frames(0).shape, np.uint8)
    for request in (0, 1):
        encoder.frames(request)[:] = noise
    alone = []
    for _ in range(_WARM_UP + 20):
        started_s = time.perf_counter()
        encoder.start(0, batch)
        encoder.wait(0)
        alone.append(time.perf_counter() - started_s)
    done, started_s = 0, time.perf_counter()
    encoder.start(0, batch)
    while time.perf_counter() - started_s < seconds / 4:
        encoder.start(1 - done % 2, batch)
        encoder.wait(done % 2)
        done += 1
    encoder.wait(done % 2)
    rate = (done + 1) * batch / (time.perf_counter() - started_s)
    return EncoderCost(batch, 1e3 * median(alone[_WARM_UP:]), rate)


def _stepping(temporal: Temporal, bundle: Bundle, seconds: float) -> float:
    """Milliseconds per camera in a full batch."""
    rows = [temporal.pool.acquire(k) for k in range(8)]
    features = np.zeros((8, *bundle.manifest.features), np.float32)
    dt, keep = np.full(8, 1 / bundle.manifest.input.fps), np.ones(8)
    times_s = []
    until_s = time.perf_counter() + seconds / 4
    while time.perf_counter() < until_s:
        started_s = time.perf_counter()
        temporal.step(rows, features, dt, keep)
        times_s.append(time.perf_counter() - started_s)
    return 1e3 * median(times_s) / 8
