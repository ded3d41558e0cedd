"""All that needs an NVIDIA GPU, in one run: build, verify, replay graphs, compare with torch, 10,000 steps, timings.

    python tools/gpu_proof.py scene --out proof          # writes proof/gpu_proof.json and proof/gpu_proof.md
    python tools/gpu_proof.py scene --out proof --no-cublas    # TensorRT 8.6 beside stub libraries of cuBLAS and cuDNN

A stage that fails is recorded with its reason, and the next one runs. Exits with 1 if one failed. Needs the extra
`tensorrt`; torch, OpenCV and ONNX Runtime are used where they are. Plans go to a cache of the run's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engines import trt_build
from engines.arrivals import pictures
from engines.backends import BACKENDS, installed_backends
from engines.bundle import Bundle, load_bundle
from engines.comparison import difference
from engines.doctor import examine
from engines.encoder import Encoder
from engines.errors import VidpipeError
from engines.temporal import Temporal
from engines.trt_cache import PlanRecord, plans_folder
from engines.trt_cuda import Cuda
from engines.verify import verify
from engines.verify_encoder import encode

GPU, TORCH = "tensorrt", "torch"
_FAILURES = (VidpipeError, ImportError, OSError, RuntimeError, TypeError, ValueError)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(options.out / "cache")
    BACKENDS[GPU] = replace(BACKENDS[GPU], may_crash=False)  # one process, so that every line of a crash is seen
    if options.no_cublas:
        _without_cublas()
    bundle = load_bundle(options.model)
    stages: dict[str, Callable[[], object]] = {
        "machine": lambda: msgspec.to_builtins(examine()),
        "build": lambda: build(bundle, options),
        "verify": lambda: msgspec.to_builtins(proven(bundle, options)),
        "float16": lambda: half(bundle),
        "graphs": lambda: graphs(bundle),
        "torch": lambda: against_torch(bundle, options.steps),
        "encoder": lambda: {name: encoder_speed(bundle, options, *how) for name, how in _encoders().items()},
        "step": lambda: {
            name: step_speed(bundle, options, name) for name in (GPU, TORCH) if name in installed_backends()
        },
        "pipeline": lambda: chain_speed(bundle, options),
    }
    results: dict[str, Any] = {}
    for name, stage in stages.items():
        start_s = time.monotonic()
        try:
            results[name] = stage()
        except _FAILURES as error:
            results[name] = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        print(f"{name}: {time.monotonic() - start_s:.1f} s {_short(results[name])}", flush=True)
        (options.out / "gpu_proof.json").write_text(json.dumps(results, indent=1, default=str))
    (options.out / "gpu_proof.md").write_text("\n".join(_markdown(results)) + "\n")
    return 1 if any("failed" in result for result in results.values() if isinstance(result, dict)) else 0


def build(bundle: Bundle, options: argparse.Namespace) -> dict[str, Any]:
    """Plans for both precisions, with the time and size of each."""
    for precision in ("f32", "f16"):
        Encoder.open(bundle, GPU, max_batch=options.batch, precision=precision).close()
    Temporal.open(bundle, GPU, capacity=options.cameras).close()
    records = [
        msgspec.json.decode(path.read_bytes(), type=PlanRecord) for path in sorted(plans_folder().glob("*.json"))
    ]
    return {
        f"{record.key.name} {record.key.precision} {'pooled' if record.key.rows else ''}".strip(): {
            "runtime": f"{record.key.runtime} {record.key.runtime_version}",
            "gpu": record.key.gpu,
            "batches": record.key.batches,
            "seconds": record.build_seconds,
            "bytes": record.plan_bytes,
        }
        for record in records
    }


def proven(bundle: Bundle, options: argparse.Namespace) -> Any:
    """Streaming against each camera alone and against float64 or the trainer, over thousands of steps."""
    report = verify(bundle, [GPU], steps=options.steps, max_batch=options.batch, capacity=options.cameras)
    if not report.passed:
        print(*[check for check in report.checks if not check.passed], sep="\n")
        raise RuntimeError("checks failed: " + ", ".join(check.check for check in report.checks if not check.passed))
    return report


def half(bundle: Bundle) -> dict[str, Any]:
    """The float16 encoder against the float32 one, by what the model says."""
    from engines.verify_precision import check_precision  # noqa: PLC0415 - needs OpenCV

    check = check_precision(bundle, GPU, "f16")
    if not check.passed:
        raise RuntimeError(f"float16 differs by {check.max_difference:.3g}: {check.note}")
    return dict(msgspec.to_builtins(check))


def graphs(bundle: Bundle) -> dict[str, Any]:
    """The same inputs with graph replay and without: answers must be equal to the bit, times differ."""
    replayed, replayed_s = _walk(bundle)
    capture = Cuda.capture
    captured: list[bool] = []

    def counting(self: Cuda, stream: Any, work: Callable[[], None]) -> Callable[[], None]:
        result = capture(self, stream, work)
        captured.append(result is not work)
        return result

    with _capturing(counting):
        _walk(bundle, steps=2)
    with _capturing(lambda *given: given[-1]):
        plain, plain_s = _walk(bundle)
    if not all(captured):
        raise RuntimeError(f"only {sum(captured)} of {len(captured)} captures succeeded, see the log")
    return {
        "captured": len(captured),
        "max_difference": difference(replayed, plain),
        "step_us_replayed": round(1e6 * replayed_s, 1),
        "step_us_plain": round(1e6 * plain_s, 1),
    }


@contextlib.contextmanager
def _capturing(way: Any) -> Iterator[None]:
    usual = Cuda.capture
    Cuda.capture = way  # type: ignore[method-assign]
    try:
        yield
    finally:
        Cuda.capture = usual  # type: ignore[method-assign]


def _walk(bundle: Bundle, steps: int = 200, cameras: int = 4, backend: str = GPU) -> tuple[np.ndarray, float]:
    """Pictures through encoder and step, all cameras at once: probabilities, and seconds a step in the middle."""
    seen = bundle.manifest.input
    images = pictures(np.random.default_rng(0), 32, seen.height, seen.width)
    said, times_s = [], []
    with (
        Encoder.open(bundle, backend, max_batch=cameras, requests=1) as encoder,
        Temporal.open(bundle, backend, capacity=cameras) as temporal,
    ):
        rows = [temporal.pool.acquire(camera) for camera in range(cameras)]
        for t in range(steps):
            encoder.frames(0)[:cameras] = images[(t + np.arange(cameras)) % len(images)]
            encoder.start(0, cameras)
            features = encoder.wait(0)
            start_s = time.perf_counter()
            result = temporal.step(rows, features, [1 / seen.fps] * cameras, [t > 0] * cameras)
            times_s.append(time.perf_counter() - start_s)
            said.append(result.prob)
            del features
    return np.concatenate(said), float(np.median(times_s))


def against_torch(bundle: Bundle, steps: int) -> dict[str, Any]:
    """The same pictures through torch on the same machine."""
    found, _ = _walk(bundle, steps=min(steps, 1000))
    expected, _ = _walk(bundle, steps=min(steps, 1000), backend=TORCH)
    worst = difference(found, expected)
    if worst > 1e-3:
        raise RuntimeError(f"TensorRT and torch differ by {worst:.3g} in probability")
    changed = int((found.argmax(1) != expected.argmax(1)).sum())
    return {"max_difference": worst, "decisions": len(found), "decisions_changed": changed}


def _encoders() -> dict[str, tuple[str, str]]:
    return {"tensorrt f32": (GPU, "f32"), "tensorrt f16": (GPU, "f16")} | (
        {"torch f32": (TORCH, "f32")} if TORCH in installed_backends() else {}
    )


def encoder_speed(bundle: Bundle, options: argparse.Namespace, backend: str, precision: str) -> dict[str, Any]:
    """Pictures a second with two requests in flight, and the latency of one request alone, by batch."""
    seen = bundle.manifest.input
    images = pictures(np.random.default_rng(0), options.batch, seen.height, seen.width)
    speeds = {}
    with Encoder.open(bundle, backend, max_batch=options.batch, precision=precision) as encoder:
        encode(encoder, images, options.batch)
        for request in (0, 1):
            encoder.frames(request)[:] = images
        for batch in [2**power for power in range(options.batch.bit_length()) if 2**power <= options.batch]:
            times_s = _repeat(partial(_one, encoder, batch), options.seconds)
            speeds[batch] = {**_quantiles(times_s), "pictures_per_s": _saturated(encoder, batch, options.seconds)}
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


def step_speed(bundle: Bundle, options: argparse.Namespace, backend: str) -> dict[str, Any]:
    """The latency of one step with features from the host, by rows."""
    rng = np.random.default_rng(0)
    speeds = {}
    with Temporal.open(bundle, backend, capacity=options.cameras) as temporal:
        rows = [temporal.pool.acquire(camera) for camera in range(options.cameras)]
        for count in [2**power for power in range(options.cameras.bit_length()) if 2**power <= options.cameras]:
            features = rng.normal(size=(count, *bundle.manifest.features)).astype(np.float32)
            ones = np.ones(count, np.float32)
            speeds[count] = _quantiles(
                _repeat(partial(temporal.step, rows[:count], features, ones / 8, ones), options.seconds)
            )
    return speeds


def chain_speed(bundle: Bundle, options: argparse.Namespace) -> dict[str, Any]:
    """Upload, encoder and step, features staying on the device: latency, and pictures a second one batch at a time."""
    speeds = {}
    with (
        Encoder.open(bundle, GPU, max_batch=options.batch, requests=1) as encoder,
        Temporal.open(bundle, GPU, capacity=options.batch) as temporal,
    ):
        rows = [temporal.pool.acquire(camera) for camera in range(options.batch)]
        for count in [2**power for power in range(options.batch.bit_length()) if 2**power <= options.batch]:
            ones = np.ones(count, np.float32)

            def once(n: int = count, o: np.ndarray = ones) -> None:
                encoder.start(0, n)
                temporal.step(rows[:n], encoder.wait(0), o / 8, o)

            times_s = _repeat(once, options.seconds)
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


def _without_cublas() -> None:
    """Let TensorRT 8.6 use its own kernels only, for where its cuBLAS and cuDNN are stubs."""
    usual = trt_build._config

    def own_kernels(trt: Any, builder: Any, request: trt_build.PlanRequest) -> Any:
        config = usual(trt, builder, request)
        kinds = trt.TacticSource
        config.set_tactic_sources(1 << int(kinds.EDGE_MASK_CONVOLUTIONS) | 1 << int(kinds.JIT_CONVOLUTIONS))
        return config

    trt_build._config = own_kernels


def _short(result: object) -> str:
    return str(result["failed"]) if isinstance(result, dict) and "failed" in result else "ok"


def _markdown(results: dict[str, Any]) -> Iterator[str]:
    yield "# What ran on a GPU\n"
    for name, result in results.items():
        yield f"## {name}\n\n```json\n{json.dumps(result, indent=1, default=str)}\n```\n"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a bundle's name or folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results and the plans")
    parser.add_argument("--batch", type=int, default=32, help="most pictures in one batch")
    parser.add_argument("--cameras", type=int, default=64, help="most cameras at once")
    parser.add_argument("--steps", type=int, default=10_000, help="of the longest camera")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each timing")
    parser.add_argument("--no-cublas", action="store_true", help="only TensorRT's own kernels (8.6)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
