"""The bare limits: what decoding, encoding and stepping cost here with nothing around them."""

from __future__ import annotations

import os
import time
from statistics import median

import msgspec
import numpy as np

from engines.bundle import Bundle
from engines.encoder import Encoder
from engines.temporal import Temporal
from pipeline.bench.decoding import DecodeCost, measure_decoding
from pipeline.bench.video import Video

_WARM_UP = 5
_BATCHES = (1, 2, 4, 8)


class EncoderCost(msgspec.Struct, frozen=True):
    """One batch size: wall milliseconds of a lone run, and per picture where two requests are always in flight."""

    batch: int
    alone_ms: float
    picture_ms: float


class StepCost(msgspec.Struct, frozen=True):
    """One batch size of the recurrent step: wall milliseconds per camera."""

    batch: int
    camera_ms: float


class Limits(msgspec.Struct, frozen=True):
    """Costs in milliseconds: of one core for decoder and step, of the whole machine for the encoder."""

    cores: int
    backend: str
    precision: str
    decode: DecodeCost
    encoder: tuple[EncoderCost, ...]
    step: tuple[StepCost, ...]

    @property
    def best(self) -> EncoderCost:
        """The batch size with the least time per picture."""
        return min(self.encoder, key=lambda cost: cost.picture_ms)

    @property
    def bare_ms(self) -> float:
        """One frame of one camera through an idle machine: retrieve, resize, encoder alone and step at batch 1."""
        return self.decode.retrieve_ms + self.decode.resize_ms + self.encoder[0].alone_ms + self.step[0].camera_ms

    def camera_cores(self, source_hz: float, rate_hz: float) -> float:
        """Cores that one camera needs if nothing but decoding, converting, encoding and stepping costs time."""
        step_ms = min(cost.camera_ms for cost in self.step)
        looked_ms = self.decode.retrieve_ms + self.decode.resize_ms + self.cores * self.best.picture_ms + step_ms
        return (source_hz * self.decode.grab_ms + rate_hz * looked_ms) / 1e3

    def cameras(self, source_hz: float, rate_hz: float, cores: float | None = None) -> float:
        """How many cameras so many cores could carry at best; by default all of them."""
        return (self.cores if cores is None else cores) / self.camera_cores(source_hz, rate_hz)


def mean_limits(first: Limits, second: Limits) -> Limits:
    """The mean of two measurements of one machine and model."""

    def mean(a: float, b: float) -> float:
        return (a + b) / 2

    one, two = first.decode, second.decode
    return msgspec.structs.replace(
        first,
        decode=DecodeCost(
            mean(one.grab_ms, two.grab_ms),
            mean(one.retrieve_ms, two.retrieve_ms),
            mean(one.resize_ms, two.resize_ms),
        ),
        encoder=tuple(
            EncoderCost(a.batch, mean(a.alone_ms, b.alone_ms), mean(a.picture_ms, b.picture_ms))
            for a, b in zip(first.encoder, second.encoder, strict=True)
        ),
        step=tuple(
            StepCost(a.batch, mean(a.camera_ms, b.camera_ms)) for a, b in zip(first.step, second.step, strict=True)
        ),
    )


def measure_limits(bundle: Bundle, video: Video, backend: str, precision: str, seconds: float = 1.5) -> Limits:
    """Measure each stage by itself, each for about so many seconds.

    Raises:
        ModelError: the bundle does not run on the back end.
    """
    size = (bundle.manifest.input.height, bundle.manifest.input.width)
    decode = measure_decoding(video, size, 2 * seconds)
    with Encoder.open(bundle, backend, max_batch=max(_BATCHES), requests=2, precision=precision) as encoder:
        costs = tuple(_encoding(encoder, batch, seconds) for batch in _BATCHES)
        real = (encoder.backend, encoder.precision)
    with Temporal.open(bundle, backend, capacity=max(_BATCHES)) as temporal:
        steps = tuple(_stepping(temporal, bundle, batch, seconds / 3) for batch in (1, 8))
    return Limits(len(os.sched_getaffinity(0)), *real, decode, costs, steps)


def _encoding(encoder: Encoder, batch: int, seconds: float) -> EncoderCost:
    noise = np.random.default_rng(0).integers(0, 255, encoder.frames(0).shape, np.uint8)
    for request in (0, 1):
        encoder.frames(request)[:] = noise
    for _ in range(_WARM_UP):
        _lone_ms(encoder, batch)
    alone_ms = [_lone_ms(encoder, batch)]
    until_s = time.perf_counter() + seconds / 3
    while time.perf_counter() < until_s:
        alone_ms.append(_lone_ms(encoder, batch))
    return EncoderCost(batch, median(alone_ms), _two_in_flight_ms(encoder, batch, seconds))


def _lone_ms(encoder: Encoder, batch: int) -> float:
    started_s = time.perf_counter()
    encoder.start(0, batch)
    encoder.wait(0)
    return 1e3 * (time.perf_counter() - started_s)


def _two_in_flight_ms(encoder: Encoder, batch: int, seconds: float) -> float:
    done, started_s = 0, time.perf_counter()
    encoder.start(0, batch)
    while time.perf_counter() - started_s < seconds:
        encoder.start(1 - done % 2, batch)
        encoder.wait(done % 2)
        done += 1
    encoder.wait(done % 2)
    return 1e3 * (time.perf_counter() - started_s) / ((done + 1) * batch)


def _stepping(temporal: Temporal, bundle: Bundle, batch: int, seconds: float) -> StepCost:
    rows = [temporal.pool.acquire(f"{batch}/{k}") for k in range(batch)]
    features = np.zeros((batch, *bundle.manifest.step_features), np.float32)
    dt, keep = np.full(batch, 1 / bundle.manifest.input.fps), np.ones(batch)
    times_s: list[float] = []
    until_s = time.perf_counter() + seconds
    while len(times_s) < _WARM_UP or time.perf_counter() < until_s:
        started_s = time.perf_counter()
        temporal.step(rows, features, dt, keep)
        times_s.append(time.perf_counter() - started_s)
    for row in rows:
        temporal.pool.release(row)
    return StepCost(batch, 1e3 * median(times_s) / batch)
