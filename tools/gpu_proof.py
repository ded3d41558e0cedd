"""All that needs an NVIDIA GPU, in one run: build, verify, replay graphs, compare with torch, 10,000 steps, timings.

    PYTHONPATH=. python tools/gpu_proof.py scene --out proof    # writes proof/gpu_proof.json and proof/gpu_proof.md
    PYTHONPATH=. python tools/gpu_proof.py scene --out proof --only build graphs    # some stages, added to those there
    PYTHONPATH=. python tools/gpu_proof.py scene --out proof --no-cublas    # TensorRT 8.6 beside stubs of cuBLAS, cuDNN

Made for a machine that is lent for minutes and reaches nothing: vidpipe need not be installed, both files are written
after each stage, a stage that fails is recorded with its reason and the next one runs, and none begins once `--minutes`
are over. Plans outlive the run in a folder of their own. Exits with 1 if a stage failed. Needs numpy, msgspec, PyYAML,
platformdirs and what the extra `tensorrt` brings; torch, OpenCV and ONNX Runtime are used where they are.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib.util
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from gpu_speed import Sizes, chain_speed, encoder_speed, step_speed

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

GPU, TORCH = "tensorrt", "torch"
# what says most in least time comes first
STAGES = ("machine", "build", "graphs", "pipeline", "encoder", "step", "torch", "float16", "verify")
Stage = Callable[[], dict[str, Any]]


class LeftOut(Exception):  # noqa: N818 - no error
    """A stage that cannot run here, and why."""


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    faulthandler.enable()  # a crash inside TensorRT shows at least where
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(options.plans)
    BACKENDS[GPU] = replace(BACKENDS[GPU], may_crash=False)  # one process, so that every line of a crash is seen
    if options.no_cublas:
        _without_cublas()
    began_s = time.monotonic()
    results = _earlier(options.out)
    stages = _stages(load_bundle(options.model), options)
    for name in options.only or STAGES:
        start_s = time.monotonic()
        late = start_s - began_s > 60 * options.minutes
        results[name] = {"left_out": "no time was left"} if late else _run(stages[name])
        results[name]["seconds"] = round(time.monotonic() - start_s, 1)
        print(f"{name}: {results[name]['seconds']} s, {_short(results[name])}", flush=True)
        (options.out / "gpu_proof.json").write_text(json.dumps(results, indent=1, default=str))
        (options.out / "gpu_proof.md").write_text("\n".join(_markdown(results)) + "\n")
    return 1 if any("failed" in result for result in results.values()) else 0


def _stages(bundle: Bundle, options: argparse.Namespace) -> dict[str, Stage]:
    sizes = Sizes(options.batch, options.cameras, options.seconds)
    return {
        "machine": lambda: dict(msgspec.to_builtins(examine())),
        "build": lambda: build(bundle, options),
        "graphs": lambda: graphs(bundle),
        "pipeline": lambda: chain_speed(bundle, sizes, GPU),
        "encoder": lambda: {
            f"{backend} {precision}": encoder_speed(bundle, sizes, backend, precision)
            for backend, precision in ((GPU, "f32"), (GPU, "f16"), *_torch("f32"))
        },
        "step": lambda: {name: step_speed(bundle, sizes, name) for (name,) in ((GPU,), *_torch())},
        "torch": lambda: against_torch(bundle, options.steps),
        "float16": lambda: half(bundle),
        "verify": lambda: proven(bundle, options),
    }


def _torch(*more: str) -> list[tuple[str, ...]]:
    return [(TORCH, *more)] if TORCH in installed_backends() else []


def _run(stage: Stage) -> dict[str, Any]:
    try:
        return stage()
    except LeftOut as reason:
        return {"left_out": str(reason)}
    except Exception as error:  # noqa: BLE001 - whatever a GPU does for the first time is to be recorded
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        where = [] if isinstance(error, VidpipeError) else traceback.format_exc().splitlines()
        return {"failed": found, "where": where}


def _earlier(folder: Path) -> dict[str, Any]:
    """What stages of an earlier run said, to be added to."""
    path = folder / "gpu_proof.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


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


def proven(bundle: Bundle, options: argparse.Namespace) -> dict[str, Any]:
    """Streaming against each camera alone and against float64 or the trainer, over thousands of steps."""
    report = verify(bundle, [GPU], steps=options.steps, max_batch=options.batch, capacity=options.cameras)
    wrong = [check.check for check in report.checks if not check.passed]
    return {**({"failed": ", ".join(wrong)} if wrong else {}), **msgspec.to_builtins(report)}


def half(bundle: Bundle) -> dict[str, Any]:
    """The float16 encoder against the float32 one, by what the model says."""
    _need("cv2", "the films of the check are drawn with OpenCV")
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
    _need("torch", "there is nothing to compare with")
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


def _need(package: str, purpose: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise LeftOut(f"{package} is not installed: {purpose}")


def _without_cublas() -> None:
    """Let TensorRT 8.6 use its own kernels only, for where its cuBLAS and cuDNN are stubs."""
    usual = trt_build._config

    def own_kernels(trt: Any, builder: Any, request: trt_build.PlanRequest) -> Any:
        config = usual(trt, builder, request)
        kinds = trt.TacticSource
        config.set_tactic_sources(1 << int(kinds.EDGE_MASK_CONVOLUTIONS) | 1 << int(kinds.JIT_CONVOLUTIONS))
        return config

    trt_build._config = own_kernels


def _short(result: dict[str, Any]) -> str:
    return next(
        (f"{word.replace('_', ' ')}: {result[word]}" for word in ("failed", "left_out") if word in result), "ok"
    )


def _markdown(results: dict[str, Any]) -> Iterator[str]:
    yield "# What ran on a GPU\n\n| stage | seconds | outcome |\n|---|---|---|"
    for name, result in results.items():
        yield f"| {name} | {result.get('seconds', '')} | {_short(result)} |"
    for name, result in results.items():
        yield f"\n## {name}\n\n```json\n{json.dumps(result, indent=1, default=str)}\n```"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a bundle's name or folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--plans", type=Path, default=Path(tempfile.gettempdir()) / "vidpipe_gpu_proof", help="their place"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="STAGE", help="these stages: machine, build, graphs, pipeline, ..."
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="no stage begins later than this")
    parser.add_argument("--batch", type=int, default=32, help="most pictures in one batch")
    parser.add_argument("--cameras", type=int, default=64, help="most cameras at once")
    parser.add_argument("--steps", type=int, default=10_000, help="of the longest camera")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each timing")
    parser.add_argument("--no-cublas", action="store_true", help="only TensorRT's own kernels (8.6)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
