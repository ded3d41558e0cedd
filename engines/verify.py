"""Proof that a bundle streams as it was trained, on every back end that is here; `vidpipe verify` prints it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.agreement import FEATURES, FRAMES, check_temporal
from engines.arrivals import Arrivals, arrivals, pictures
from engines.backends import (
    BACKENDS,
    check_backend,
    installed_backends,
    missing_package,
    open_engines,
    unusable,
)
from engines.bundle import ENCODER, TEMPORAL, Bundle
from engines.comparison import FLOAT64, TRAINER, Answers, Check, Row, VerifyReport, compare_answers, compare_features
from engines.encoder import Encoder
from engines.engine import FULL_PRECISION, EngineOptions
from engines.errors import BackendError
from engines.golden import Golden, read_golden
from engines.temporal import Temporal
from engines.verify_encoder import check_batches, check_other_pictures, encode
from engines.verify_step import (
    Run,
    check_golden,
    check_poison,
    check_snapshot,
    check_streams,
    controls,
    joined,
    run_alone,
)

_VIEWS = 64  # pictures whose features the cameras wander among
_REFERENCE_STEPS = 150  # per camera; the float64 reference takes about a millisecond a step
_REFERENCE_PICTURES = 4
_SHORT_STEPS = 200  # of the checks whose point is one event
_NOT_HERE = "the float64 reference: needs the package onnx: pip install 'vidpipe[train]'"


@dataclass(frozen=True)
class _Yardstick:
    """What every back end is compared with: the float64 reference where it is here, else the first back end."""

    name: str
    features: NDArray[np.float64]  # of the first _REFERENCE_PICTURES pictures
    answers: Answers  # of the first _REFERENCE_STEPS steps of each camera


def verify(
    bundle: Bundle,
    backends: Sequence[str] | None = None,
    *,
    steps: int = 1000,
    cameras: int = 6,
    seed: int = 0,
    max_batch: int = 8,
    capacity: int = 0,
    precisions: Sequence[str] | None = (FULL_PRECISION,),
    progress: Callable[[str], None] = lambda _: None,
) -> VerifyReport:
    """Compare streaming with each camera alone, back ends with a float64 reference, and wrong runs with right ones.

    Args:
        bundle: the model.
        backends: names of back ends; None or `auto` among them: all that are installed.
        steps: of the longest camera.
        cameras: how many, at least 2.
        seed: of the made-up traffic.
        max_batch: most pictures in one batch, as it will run.
        capacity: rows of the state pool, as it will run; at least one per camera.
        precisions: of the encoder; None: each that a back end has. The lower ones have their own check and limit.
        progress: told what is being done, a few words at a time.

    Raises:
        BackendError: a back end or precision is unknown, or a back end cannot run the model.
        MissingExtraError: a back end is not installed.
        ModelError: the graphs contradict the manifest.
    """
    names = _chosen(backends)
    lower = _lower_precisions(names, precisions)
    rng = np.random.default_rng(seed)
    images = pictures(rng, _VIEWS, bundle.manifest.input.height, bundle.manifest.input.width)
    with Encoder.open(bundle, names[0], max_batch=8) as encoder:
        views = encode(encoder, images, 8)
    traffic = arrivals(rng, views, max(2, cameras), max(8, steps), bundle.manifest.further)
    golden = read_golden(bundle)
    yardstick = _yardstick(bundle, names[0], images, traffic, progress)
    checks: list[Check] = []
    for name in names:
        progress(f"encoder on {name}")
        checks += _encoder_checks(bundle, name, images, yardstick, golden, max_batch=max_batch)
        progress(f"step on {name}")
        checks += _step_checks(bundle, name, traffic, yardstick, golden, max_batch=max_batch, capacity=capacity)
    low_checks, not_here = _precision_checks(bundle, lower, progress)
    checks += [msgspec.structs.replace(check, optional=precisions is None) for check in low_checks]
    return VerifyReport(
        bundle=bundle.name,
        version=bundle.manifest.version,
        sha=bundle.sha,
        steps=len(traffic.streams[0]),
        cameras=len(traffic.streams),
        seed=seed,
        checks=tuple(checks),
        not_compared=(*_not_compared(names, golden), *not_here),
        passed=all(check.passed or check.optional for check in checks),
    )


def _chosen(backends: Sequence[str] | None) -> list[str]:
    for name in backends or ():
        check_backend(name)
    names = list(dict.fromkeys(backends or ()))
    names = installed_backends() if not names or "auto" in names else names
    if not names:
        raise BackendError(
            f"no back end is installed, so there is nothing to verify: pip install one of {list(BACKENDS)}"
        )
    return names


def _encoder_checks(
    bundle: Bundle,
    name: str,
    images: NDArray[np.uint8],
    yardstick: _Yardstick,
    golden: Golden | None,
    *,
    max_batch: int,
) -> Iterator[Check]:
    with Encoder.open(bundle, name, max_batch=max_batch) as encoder:
        some = images[:23]  # a multiple of no batch, so that short ones come up
        alone = encode(encoder, some, 1)
        if yardstick.name != name:
            row = Row("encoder", name, yardstick.name)
            yield compare_features(row, alone[:_REFERENCE_PICTURES], yardstick.features)
        if golden is not None and len(golden.frames):
            row = Row("encoder", name, TRAINER)
            yield compare_features(row, encode(encoder, golden.frames, 1), golden.frame_features)
        yield check_batches(name, encoder, some, alone)
        yield check_other_pictures(name, encoder, some, alone)


def _step_checks(
    bundle: Bundle,
    name: str,
    traffic: Arrivals,
    yardstick: _Yardstick,
    golden: Golden | None,
    *,
    max_batch: int,
    capacity: int,
) -> Iterator[Check]:
    manifest = bundle.manifest
    cameras = len(traffic.streams)
    # compiled for a fixed batch, as `vidpipe run` does it
    with Temporal.open(bundle, name, capacity=max(capacity, cameras), max_batch=max(max_batch, cameras)) as temporal:
        run, close = _bare_step(bundle, name)
        alone = [run_alone(run, manifest, stream) for stream in traffic.streams]
        if yardstick.name != name:
            found = joined(alone, _REFERENCE_STEPS)
            yield compare_answers(Row("step, cameras alone", name, yardstick.name), found, yardstick.answers)
        if golden is not None and len(golden.dt):
            yield check_golden(name, run, manifest, golden)
        yield check_streams(name, temporal, traffic, alone)
        yield check_poison(name, temporal, traffic.head(_SHORT_STEPS), run, manifest)
        yield check_snapshot(name, temporal, traffic.streams[1], alone[1])
        yield from controls(name, run, manifest, traffic, alone[1])
        close()


def _lower_precisions(names: Sequence[str], precisions: Sequence[str] | None) -> list[tuple[str, str]]:
    if precisions is not None and set(precisions) <= {FULL_PRECISION}:
        return []
    from engines.verify_precision import lower_precisions  # noqa: PLC0415 - renders films with OpenCV

    return lower_precisions(names, precisions)


def _precision_checks(
    bundle: Bundle, lower: Sequence[tuple[str, str]], progress: Callable[[str], None]
) -> tuple[list[Check], list[str]]:
    """A check for each back end and precision that runs here, and a sentence for each that does not."""
    checks, not_here = [], []
    for name, precision in lower:
        from engines.verify_precision import try_precision  # noqa: PLC0415 - renders films with OpenCV

        progress(f"encoder in {precision} on {name}")
        found = try_precision(bundle, name, precision)
        if isinstance(found, Check):
            checks.append(found)
        else:
            not_here.append(found)
    return checks, not_here


def _bare_step(bundle: Bundle, name: str) -> tuple[Run, Callable[[], None]]:
    """The step without a pool, and what frees it."""
    options = EngineOptions(f"{TEMPORAL} of {bundle.name}", threads=1)
    (engine,) = open_engines(bundle.read(TEMPORAL), name, [options]).engines
    check_temporal(bundle, engine)
    return engine.run, engine.close


def _yardstick(
    bundle: Bundle, first: str, images: NDArray[np.uint8], traffic: Arrivals, progress: Callable[[str], None]
) -> _Yardstick:
    some = images[:_REFERENCE_PICTURES]
    short = traffic.head(_REFERENCE_STEPS).streams
    if importlib.util.find_spec("onnx"):
        from engines.reference import ReferenceEngine  # noqa: PLC0415

        progress("float64 reference")
        encoder = ReferenceEngine(bundle.read(ENCODER), f"{ENCODER} of {bundle.name}")
        step = ReferenceEngine(bundle.read(TEMPORAL), f"{TEMPORAL} of {bundle.name}")
        answers = [run_alone(step.run, bundle.manifest, stream) for stream in short]
        return _Yardstick(FLOAT64, encoder.run({FRAMES: some})[FEATURES], joined(answers))
    with Encoder.open(bundle, first, max_batch=1) as encoder_engine:
        features = encode(encoder_engine, some, 1).astype(np.float64)
    run, close = _bare_step(bundle, first)
    answers = [run_alone(run, bundle.manifest, stream) for stream in short]
    close()
    return _Yardstick(first, features, joined(answers))


def _not_compared(names: Sequence[str], golden: Golden | None) -> Iterator[str]:
    if not importlib.util.find_spec("onnx"):
        yield _NOT_HERE
    for name, backend in BACKENDS.items():
        if name in names:
            continue
        if reason := unusable(backend):
            yield f"{name}: {reason}"
        elif missing_package(backend) is None:
            yield f"{name}: not asked for"
        else:
            yield f"{name}: not installed: pip install 'vidpipe[{backend.extra or name}]'"
    if golden is None:
        yield "the trainer's own offline pass: the bundle has no golden.npz"
