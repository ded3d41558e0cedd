"""Timings of a bundle on one back end for `gpu_proof.py`: encoder, step, and the chain of both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from engines.arrivals import pictures
from engines.bundle import Bundle
from engines.encoder import Encoder
from engines.temporal import Temporal
from engines.verify_encoder import encode


@dataclass(frozen=True)
class Sizes:
    """How large and how long: most pictures in a batch, most cameras, seconds of each timing."""

    batch: int
    cameras: int
    seconds: float


def encoder_speed(bundle: Bundle, sizes: Sizes, backend: str, precision: str) -> dict[str, Any]:
    """Pictures a second with two requests in flight, and the latency of one request alone, by batch."""
    seen = bundle.manifest.input
    images = pictures(np.random.default_rng(0), sizes.batch, seen.height, seen.width)
    speeds = {}
    with Encoder.open(bundle, backend, max_batch=sizes.batch, precision=precision) as encoder:
        encode(encoder, images, sizes.batch)
        for request in (0, 1):
            encoder.frames(request)[:] = images
        for batch in [2**power for power in range(sizes.batch.bit_length()) if 2**power <= sizes.batch]:
            times_s = _repeat(partial(_one, encoder, batch), sizes.seconds)
            speeds[batch] = {**_quantiles(times_s), "pictures_per_s": _saturated(encoder, batch, sizes.seconds)}
    return speeds


def _one(encoder: Encoder, batch: int) -> None:
    encoder.start(0, batch)
    encoder.wait(0)


def _saturated(encoder: Encoder, batch: int, seconds: float) -> float:
    done, request = 0, 0
    encoder.start(1, batch)
    start_s = time.perf_counter()
    while (past_s := time.perf_counter() - start_s) < seconds:
        encoder.start(request, batch)
        request = 1 - request
        encoder.wait(request)
        done += batch
    encoder.wait(1 - request)
    return round(done / past_s, 1)


def step_speed(bundle: Bundle, sizes: Sizes, backend: str) -> dict[str, Any]:
    """The latency of one step with features from the host, by rows."""
    rng = np.random.default_rng(0)
    speeds = {}
    with Temporal.open(bundle, backend, capacity=sizes.cameras) as temporal:
        rows = [temporal.pool.acquire(camera) for camera in range(sizes.cameras)]
        for count in [2**power for power in range(sizes.cameras.bit_length()) if 2**power <= sizes.cameras]:
            features = rng.normal(size=(count, *bundle.manifest.step_features)).astype(np.float32)
            ones = np.ones(count, np.float32)
            speeds[count] = _quantiles(
                _repeat(partial(temporal.step, rows[:count], features, ones / 8, ones), sizes.seconds)
            )
    return speeds


def chain_speed(bundle: Bundle, sizes: Sizes, backend: str) -> dict[str, Any]:
    """Upload, encoder and step, features staying on the device: latency, and pictures a second one batch at a time."""
    speeds = {}
    with (
        Encoder.open(bundle, backend, max_batch=sizes.batch, requests=1) as encoder,
        Temporal.open(bundle, backend, capacity=sizes.batch) as temporal,
    ):
        rows = [temporal.pool.acquire(camera) for camera in range(sizes.batch)]
        for count in [2**power for power in range(sizes.batch.bit_length()) if 2**power <= sizes.batch]:
            ones = np.ones(count, np.float32)

            def once(n: int = count, o: np.ndarray = ones) -> None:
                encoder.start(0, n)
                temporal.step(rows[:n], encoder.wait(0), o / 8, o)

            times_s = _repeat(once, sizes.seconds)
            speeds[count] = {**_quantiles(times_s), "pictures_per_s": round(count / float(np.mean(times_s)), 1)}
    return speeds


def _repeat(call: Callable[[], object], seconds: float) -> list[float]:
    for _ in range(10):
        call()
    times_s: list[float] = []
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s or len(times_s) < 10:
        start_s = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - start_s)
    return times_s


def _quantiles(times_s: list[float]) -> dict[str, Any]:
    p50, p99 = np.quantile(np.array(times_s) * 1e6, [0.5, 0.99])
    return {"p50_us": round(float(p50), 1), "p99_us": round(float(p99), 1), "runs": len(times_s)}
