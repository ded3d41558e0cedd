"""Measure the encoder in float32 and in each lower precision of a back end, and choose between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median

import numpy as np

from engines.backends import BACKENDS
from engines.bundle import Bundle
from engines.comparison import Check
from engines.encoder import Encoder
from engines.engine import FULL_PRECISION
from engines.errors import ModelError
from engines.precision import PrecisionChoice, Trial, choose

_SECONDS = 2.0  # of timing, over all precisions; the rounds below come first
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 100


def choose_precision(
    bundle: Bundle, backend: str, *, max_batch: int = 8, progress: Callable[[str], None] = lambda _: None
) -> PrecisionChoice:
    """Time the encoder in each precision of `backend`, full batches in all requests, and check what is fast enough.

    A precision that does not compile or run, or that the machine computes as another, is a finding and not an error.

    Args:
        bundle: the model.
        backend: a name in `engines.backends.BACKENDS`.
        max_batch: pictures in one request.
        progress: told what is being done, a few words at a time.

    Raises:
        BackendError: the back end cannot run the model in f32.
        ModelError: the graphs contradict the manifest.
    """
    progress("timing precisions")
    with ExitStack() as stack:
        full = stack.enter_context(Encoder.open(bundle, backend, max_batch=max_batch))
        trials = [Trial(FULL_PRECISION, full.precision)]
        encoders = {FULL_PRECISION: full}
        for precision in BACKENDS[backend].precisions:
            try:
                encoder = stack.enter_context(Encoder.open(bundle, backend, max_batch=max_batch, precision=precision))
                encoder.start(0, 1)
                encoder.wait(0)
            except ModelError as error:
                trials.append(Trial(precision, problem=str(error)))
                continue
            trials.append(Trial(precision, encoder.precision))
            if encoder.precision == precision:
                encoders[precision] = encoder
        times = dict(zip(encoders, frame_times(list(encoders.values())), strict=True))
        version, requests = full.version, full.requests
    timed = [Trial(each.precision, each.real, times.get(each.precision), each.problem) for each in trials]

    def check(precision: str) -> Check:
        from engines.verify_precision import check_precision  # noqa: PLC0415 - renders films with OpenCV

        progress(f"encoder in {precision}")
        return check_precision(bundle, backend, precision)

    candidates = choose(timed, check)
    taken = next(each.precision for each in candidates if each.taken)
    return PrecisionChoice(taken, backend, version, max_batch, requests, candidates)


def frame_times(encoders: Sequence[Encoder], seconds: float = _SECONDS) -> list[float]:
    """Median milliseconds per frame of each encoder, with all its requests full and in flight at once.

    They take turns, to and fro, so that a machine whose speed drifts treats them alike.
    """
    noise = np.random.default_rng(0)
    for encoder in encoders:
        for request in range(encoder.requests):
            frames = encoder.frames(request)
            frames[:] = noise.integers(0, 256, frames.shape, np.uint8)
        _frame_ms(encoder)  # the first run allocates
    found: dict[int, list[float]] = {index: [] for index in range(len(encoders))}
    order = list(found)
    until_s = time.monotonic() + seconds
    for number in range(_MOST_ROUNDS):
        if number >= _LEAST_ROUNDS and time.monotonic() >= until_s:
            break
        for index in order:
            found[index].append(_frame_ms(encoders[index]))
        order.reverse()
    return [median(times) for times in found.values()]


def _frame_ms(encoder: Encoder) -> float:
    start_s = time.perf_counter()
    for request in range(encoder.requests):
        encoder.start(request, encoder.max_batch)
    for request in range(encoder.requests):
        encoder.wait(request)
    return 1e3 * (time.perf_counter() - start_s) / (encoder.requests * encoder.max_batch)
