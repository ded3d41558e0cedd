"""What others do with the same model and video: one plain loop per engine, beside vidpipe's own capacity, in one run.

    python tools/bench_peers.py --model DIR --rate 8 --seconds 20

Each loop is an honest best effort of the usual script: one process, cv2 with one decoder thread, `grab` for frames that
are not due, the same graphs with the preprocessing inside, the state carried, ZeroMQ at the end, all threads for the
engine. A loop's capacity is how many camera-seconds it works off in a second; the video is read as fast as it goes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import zmq

from engines.bundle import ENCODER, TEMPORAL, Bundle, load_bundle
from engines.engine import EngineOptions
from pipeline.bench.video import FPS, record_scene

Run = Callable[[Any], dict[str, Any]]


def main() -> None:
    """Run every loop that can run here, then vidpipe's bench, and print the ratios."""
    arguments = _arguments()
    bundle = load_bundle(arguments.model)
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        video = record_scene(Path(folder) / "scene.mp4", seconds=30.0)
        for name, make in {"torch": _torch, "onnxruntime": _onnxruntime, "openvino, synchronous": _openvino}.items():
            try:
                encoder, temporal = make(bundle)
            except ModuleNotFoundError as error:
                print(f"cv2 + {name}: not measured, {error.name} is not installed")
                continue
            rates[name] = _loop(bundle, video, encoder, temporal, arguments)
            print(f"cv2 + {name}: {rates[name]:.1f} cameras", flush=True)
    own = _vidpipe(arguments)
    print(f"vidpipe: {own} cameras (bare limit and table: vidpipe bench)")
    for name, rate in rates.items():
        print(f"vidpipe / (cv2 + {name}): {own / rate:.2f}")


def _loop(bundle: Bundle, video: Path, encoder: Run, temporal: Run, arguments: argparse.Namespace) -> float:
    """Camera-seconds a second of the plain loop over one file after another."""
    manifest = bundle.manifest
    state = {tensor.input: np.zeros((1, *tensor.shape), np.float32) for tensor in manifest.state}
    size = (manifest.input.width, manifest.input.height)
    publisher: zmq.SyncSocket = zmq.Context.instance().socket(zmq.PUB)
    publisher.bind("tcp://127.0.0.1:*")
    frames, started_s = 0, time.perf_counter()
    dt, keep = np.full(1, 1 / arguments.rate, np.float32), np.ones(1, np.float32)
    for picture in _pictures(video, FPS / arguments.rate):
        frames += 1
        if picture is not None:
            shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            features = encoder({"frames": shrunk[None]})["features"]
            answer = temporal({"features": features, "dt": dt, "keep": keep, **state})
            state = {tensor.input: answer[tensor.output] for tensor in manifest.state}
            publisher.send_multipart([b"cam/", msgspec.msgpack.encode(answer["prob"][0].tolist())])
        if time.perf_counter() - started_s > arguments.seconds:
            break
    publisher.close(linger=0)
    return frames / FPS / (time.perf_counter() - started_s)


def _pictures(video: Path, every: float) -> Iterator[np.ndarray | None]:
    """Every frame of the file, again and again; None where it is not due."""
    number = 0
    while True:
        capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        while capture.grab():
            due = int(number / every) != int((number - 1) / every)
            yield np.asarray(capture.retrieve()[1]) if due else None
            number += 1
        capture.release()


def _onnxruntime(bundle: Bundle) -> tuple[Run, Run]:
    import onnxruntime  # noqa: PLC0415

    def run(graph: str) -> Run:
        session = onnxruntime.InferenceSession(bundle.read(graph), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))

    return run(ENCODER), run(TEMPORAL)


def _openvino(bundle: Bundle) -> tuple[Run, Run]:
    import openvino  # noqa: PLC0415

    core = openvino.Core()

    def run(graph: str, precision: str) -> Run:
        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        model = core.compile_model(core.read_model(bundle.read(graph)), "CPU", options)
        return lambda feeds: {key.any_name: np.array(value) for key, value in model(feeds).items()}

    return run(ENCODER, "f32"), run(TEMPORAL, "f32")


def _torch(bundle: Bundle) -> tuple[Run, Run]:
    """The same graphs, operator by operator in torch: eager, with batch normalisation already folded."""
    from engines.eager import TorchEngine  # noqa: PLC0415

    encoder, temporal = (TorchEngine.open(bundle.read(graph), EngineOptions(graph)) for graph in (ENCODER, TEMPORAL))
    return encoder.run, temporal.run


def _vidpipe(arguments: argparse.Namespace) -> int:
    command = [sys.executable, "-c", "from pipeline.cli.main import main; main()", "bench", arguments.model]
    command += ["--rates", str(arguments.rate), "--seconds", str(arguments.seconds), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return int(json.loads(done.stdout)["rates"][0]["capacity"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scene", help="a bundle's name or folder")
    parser.add_argument("--rate", type=float, default=5.0, help="samples a second of each camera")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of one measurement")
    return parser.parse_args()


if __name__ == "__main__":
    main()
