"""The back ends vidpipe knows, and how one is picked and opened."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from engines.engine import (
    AUTO_PRECISION,
    FULL_PRECISION,
    Backend,
    Engine,
    EngineOptions,
    load_attribute,
    load_class,
)
from engines.errors import BackendError, MissingExtraError
from engines.probe import probe
from engines.verdicts import refuse_condemned

BACKENDS: dict[str, Backend] = {
    "tensorrt": Backend(
        "TensorRT",
        "engines.trt_engine:TensorRtEngine",
        "tensorrt",
        "tensorrt",
        may_crash=True,
        patience_s=3600.0,
        instead=("tensorrt_rtx",),
        besides=("pycuda", "onnx"),
        unusable="engines.gpu:no_gpu",
        precisions=("f16",),
        encoder="engines.trt_encoder:DeviceEncoder",
        temporal="engines.trt_temporal:DeviceTemporal",
    ),
    "openvino": Backend(
        "OpenVINO",
        "engines.vino:OpenVinoEngine",
        "openvino",
        "",
        may_crash=True,
        fixed_batches=True,
        precisions=("bf16", "f16"),
    ),
    "onnxruntime": Backend("ONNX Runtime", "engines.ort:OrtEngine", "onnxruntime", "onnxruntime"),
    "torch": Backend("torch", "engines.eager:TorchEngine", "torch", "torch", besides=("onnx",)),
}
_log = logging.getLogger("vidpipe.engines")

AUTO = ("tensorrt", "openvino", "onnxruntime")  # what `auto` tries, best first


@dataclass(frozen=True)
class Opened:
    """Engines of one graph, one per given options, all on one back end, and why on that one.

    Where a fixed batch is no faster, options that differ in it alone share one engine that takes any.
    """

    engines: tuple[Engine, ...]
    why: str


def installed_package(backend: Backend) -> str | None:
    """The package that the back end would use here; None where none is installed."""
    return next((name for name in (backend.package, *backend.instead) if importlib.util.find_spec(name)), None)


def missing_package(backend: Backend) -> str | None:
    """The first package that the back end needs and that is not installed; None where all are."""
    if not installed_package(backend):
        return backend.package
    return next((name for name in backend.besides if not importlib.util.find_spec(name)), None)


def unusable(backend: Backend) -> str:
    """Why nothing can run on the back end on this machine, whatever is installed; empty where it can."""
    return str(load_attribute(backend.unusable)()) if backend.unusable else ""


def installed_backends() -> list[str]:
    """The names of the back ends that can run here: installed, and with the hardware they need."""
    return [name for name, backend in BACKENDS.items() if not missing_package(backend) and not unusable(backend)]


def variant_of(usual: type[Any], target: str) -> type[Any]:
    """The class behind the import string `target`, or `usual` where that is empty."""
    return cast("type[Any]", load_attribute(target)) if target else usual


def check_backend(name: str) -> None:
    """Refuse a back end that is unknown, not installed or without its hardware, before any model is read.

    Raises:
        BackendError: the name is not in the table, or the machine lacks what the back end runs on.
        MissingExtraError: its package is not installed.
    """
    if name == "auto":
        return
    if name not in BACKENDS:
        raise BackendError(f"there is no back end {name!r}: vidpipe knows auto, {', '.join(BACKENDS)}")
    backend = BACKENDS[name]
    if reason := unusable(backend):
        raise BackendError(f"the back end {name} cannot run: {reason}")
    package = missing_package(backend)
    if package is None:
        return
    if backend.extra:
        raise MissingExtraError(f"the back end {name}", package, backend.extra)
    raise BackendError(f"the back end {name} needs the package {package}: pip install {package}")


def open_engines(
    model: bytes,
    backend: str,
    options: Sequence[EngineOptions],
    pooled: Callable[[], bytes] | None = None,
    remembered: Callable[[Backend], str] = lambda _: FULL_PRECISION,
) -> Opened:
    """Open one graph once per options on `backend`, or with `auto` on the first back end that can.

    `pooled`, where it is given, makes the graph for a back end that keeps state on its device; `remembered` says what
    the precision `auto` means on a back end.

    Raises:
        BackendError: the back end is unknown, or it (with `auto`: every one) cannot load the graph.
        MissingExtraError: the package of the named back end is not installed.
    """
    check_backend(backend)
    if backend != "auto":
        return Opened(_open_all(model, backend, options, pooled, remembered), "named by the user")
    refused: list[str] = []
    for name in AUTO:
        if reason := unusable(BACKENDS[name]):
            refused.append(f"not {name}: {reason}")
            continue
        try:
            check_backend(name)
            engines = _open_all(model, name, options, pooled, remembered)
        except (BackendError, MissingExtraError) as error:
            refused.append(f"not {name}: {error}")
            continue
        return Opened(engines, "; ".join(["picked by auto as the best of those that work here", *refused]))
    raise BackendError(f"no back end can load {options[0].name}: {'; '.join(refused)}")


def _survivable(backend: Backend, model: bytes, options: Sequence[EngineOptions]) -> Sequence[EngineOptions]:
    """The options as they are or, where they crash the compiler, with caution."""
    try:
        probe(backend, model, options)
    except BackendError as crash:
        careful = [replace(each, cautious=True) for each in options]
        probe(backend, model, careful)
        _log.info("%s, or without the optimisation that crashed, as now", crash)
        return careful
    return options


def _open_all(
    model: bytes,
    name: str,
    options: Sequence[EngineOptions],
    pooled: Callable[[], bytes] | None,
    remembered: Callable[[Backend], str],
) -> tuple[Engine, ...]:
    """The engines, `auto` as a precision settled; what was chosen and does not load any more is not insisted on."""
    if all(each.precision != AUTO_PRECISION for each in options):
        return _open_settled(model, name, options, pooled)
    chosen = remembered(BACKENDS[name])
    try:
        return _open_settled(model, name, _settled(options, chosen), pooled)
    except BackendError as error:
        if chosen == FULL_PRECISION:
            raise
        _log.warning("%s was chosen by vidpipe build, but now %s; so f32 is taken", chosen, error)
        return _open_settled(model, name, _settled(options, FULL_PRECISION), pooled)


def _settled(options: Sequence[EngineOptions], precision: str) -> list[EngineOptions]:
    return [replace(each, precision=precision) if each.precision == AUTO_PRECISION else each for each in options]


def _open_settled(
    model: bytes, name: str, options: Sequence[EngineOptions], pooled: Callable[[], bytes] | None
) -> tuple[Engine, ...]:
    backend = BACKENDS[name]
    for precision in dict.fromkeys(each.precision for each in options):
        refuse_condemned(name, backend, model, precision, options[0].name)
    if not backend.resident:
        options = [replace(each, max_batch=EngineOptions.max_batch, rows=0) for each in options]
    elif pooled is not None:
        model = pooled()
    wanted = options if backend.fixed_batches else [replace(each, batch=None) for each in options]
    if backend.may_crash:
        wanted = _survivable(backend, model, wanted)
    engine_class = load_class(backend.title, backend.target)
    engines = {each: engine_class.open(model, each) for each in dict.fromkeys(wanted)}
    return tuple(engines[each] for each in wanted)
