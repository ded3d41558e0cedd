"""What a step of each family costs: state, size, milliseconds on each back end, and how far it strays from offline.

    python tools/time_families.py --seconds 30
    python tools/time_families.py transformer gru --json

The steps are those of networks with random weights in their own sizes, on features with the shapes of
EfficientNet-Lite0 at 224 x 224 (a vector of 1280, or a map of 320 x 7 x 7). Each is compiled for its batch as `vidpipe
run` does it, on one thread, and timed without the state pool around it. All timings are interleaved in one run, since
the machine's speed drifts: `best` is the fastest of all rounds, `median` what half of them reach. `stray` is the
largest difference of a logit between 200 steps on a back end and torch's one pass over the whole sequence.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from engines.backends import open_engines
from engines.engine import Array, Engine, EngineOptions
from engines.export import export_temporal
from engines.families import FAMILIES, build_family
from engines.families.contract import StreamModel

BACKENDS = ("openvino", "onnxruntime", "torch")
BATCHES = (1, 8)
STEPS = 200
REPEATS = 10
NEEDED: Mapping[str, dict[str, object]] = {"multimodal": {"further": [{"name": "audio", "size": 20}]}}

Times = dict[tuple[str, str, int], list[float]]


@dataclass(frozen=True)
class Step:
    """A family's network and its exported step."""

    model: StreamModel
    graph: bytes


@dataclass(frozen=True)
class Row:
    """One line of the table; the milliseconds are by back end and batch, `stray` by back end."""

    family: str
    features: tuple[int, ...]
    parameters: int
    state_bytes: int
    onnx_bytes: int
    best_ms: dict[str, dict[int, float]]
    median_ms: dict[str, dict[int, float]]
    stray: dict[str, float]


def main() -> None:
    """Export, compare, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="all if none")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to measure")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps = {name: exported(name) for name in arguments.families or sorted(FAMILIES)}
    strays = {name: stray(step) for name, step in steps.items()}
    times = measure(rounds(steps), arguments.seconds)
    rows = [row(name, step, times, strays[name]) for name, step in steps.items()]
    if arguments.json:
        for each in rows:
            print(json.dumps(asdict(each)))
        return
    print_table(rows)


def exported(family: str) -> Step:
    """The family in its own sizes on Lite0's features, its weights random but the same in every run."""
    torch.manual_seed(0)
    options = {"encoder": "efficientnet_lite0", "pretrained": False, **NEEDED.get(family, {})}
    model = build_family(family, options).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "temporal.onnx"
        export_temporal(model, path)
        return Step(model, path.read_bytes())


def opened(step: Step, backend: str, batch: int) -> Engine:
    """The step compiled for `batch` rows, as it runs."""
    (engine,) = open_engines(step.graph, backend, [EngineOptions("temporal.onnx", batch=batch, threads=1)]).engines
    return engine


def stray(step: Step) -> dict[str, float]:
    """By back end: the largest difference of a logit between stepping and one pass over the sequence."""
    rng = np.random.default_rng(1)
    features = rng.random((1, STEPS, *step.model.step_features), np.float32)
    dt = rng.choice([0.5, 1.0, 2.0], (1, STEPS)).astype(np.float32) / np.float32(step.model.fps)
    with torch.inference_mode():
        offline = step.model(torch.from_numpy(features), torch.from_numpy(dt))[0].numpy()
    found = {name: streamed(opened(step, name, 1), step.model, features, dt) for name in BACKENDS}
    return {name: float(np.abs(logits - offline).max()) for name, logits in found.items()}


def streamed(
    engine: Engine, model: StreamModel, features: NDArray[np.float32], dt: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Logits `[1, T, labels]` of one stream, step by step."""
    feeds, out = fresh(model, 1), []
    for index in range(STEPS):
        outputs = engine.run({**feeds, "features": features[:, index], "dt": dt[:, index]})
        feeds |= {spec.name: outputs[f"next_{spec.name}"] for spec in model.state_spec}
        out.append(outputs["logits"])
    engine.close()
    return np.stack(out, 1)


def fresh(model: StreamModel, batch: int) -> dict[str, Array]:
    """Feeds of a step of `batch` streams that start now."""
    rng = np.random.default_rng(2)
    state = {spec.name: np.zeros((batch, *spec.shape), np.float32) for spec in model.state_spec}
    features = rng.random((batch, *model.step_features), np.float32)
    dt = np.full(batch, 1 / model.fps, np.float32)
    return {"features": features, "dt": dt, "keep": np.ones(batch, np.float32), **state}


def rounds(steps: Mapping[str, Step]) -> dict[tuple[str, str, int], Callable[[], float]]:
    """What to time, by family, back end and batch."""
    return {
        (family, backend, batch): timed(opened(step, backend, batch), step.model, batch)
        for family, step in steps.items()
        for backend in BACKENDS
        for batch in BATCHES
    }


def timed(engine: Engine, model: StreamModel, batch: int) -> Callable[[], float]:
    """A round of `REPEATS` steps, each of which takes the state of the one before: milliseconds a step."""
    feeds = fresh(model, batch)

    def run() -> float:
        since = time.perf_counter()
        for _ in range(REPEATS):
            outputs = engine.run(feeds)
            for spec in model.state_spec:
                feeds[spec.name][:] = outputs[f"next_{spec.name}"]
        return (time.perf_counter() - since) * 1e3 / REPEATS

    return run


def measure(rounds: Mapping[tuple[str, str, int], Callable[[], float]], seconds: float) -> Times:
    """All rounds in turn, again and again, after one to warm up."""
    for run in rounds.values():
        run()
    found: Times = defaultdict(list)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for key, run in rounds.items():
            found[key].append(run())
    return found


def row(family: str, step: Step, times: Times, strays: dict[str, float]) -> Row:
    """The family's line."""
    model = step.model
    own = sum(each.numel() for name, each in model.named_parameters() if not name.startswith("encoder."))
    return Row(
        family=family,
        features=model.step_features,
        parameters=own,
        state_bytes=4 * sum(int(np.prod(spec.shape)) for spec in model.state_spec),
        onnx_bytes=len(step.graph),
        best_ms={name: {batch: min(times[family, name, batch]) for batch in BATCHES} for name in BACKENDS},
        median_ms={
            name: {batch: statistics.median(times[family, name, batch]) for batch in BATCHES} for name in BACKENDS
        },
        stray=strays,
    )


def print_table(rows: list[Row]) -> None:
    """Markdown; milliseconds are `best (median)`."""
    ways = [(name, batch) for name in BACKENDS for batch in BATCHES]
    columns = ["family", "features", "parameters", "state bytes", "ONNX bytes"]
    columns += [*(f"{name}, {batch}" for name, batch in ways), "stray"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for each in rows:
        cells = [each.family, " x ".join(map(str, each.features))]
        cells += [f"{count:,}" for count in (each.parameters, each.state_bytes, each.onnx_bytes)]
        cells += [f"{each.best_ms[name][batch]:.2f} ({each.median_ms[name][batch]:.2f})" for name, batch in ways]
        print(f"| {' | '.join(cells)} | {max(each.stray.values()):.0e} |")
    print(f"\nMilliseconds a step on one thread, by back end and streams in it; load {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
