"""What others do with the same model and video: one plain loop per engine, beside vidpipe's own capacity, in one run.

    python tools/bench_peers.py --model DIR --rate 8 --json peers.json

Each loop is an honest best effort of the usual script: one process, cv2 with one decoder thread, `grab` for frames that
are not due, vidpipe's own fast resize, the same graphs with the preprocessing inside, the state carried, ZeroMQ at the
end, as many threads for the engine as it takes by itself. What a good user would try is tried: bfloat16 and
channels-last in torch, a fixed batch in OpenVINO. A loop's capacity is the camera-seconds it works off in a second.

The loops read the file as fast as they can. No fake cameras and no sockets share their cores, no process has to hand
frames to another, and no frame has to be in time: all that is in their favour. They run in turn, several rounds before
vidpipe's capacity search and several after it, so that a drift of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import msgspec
import numpy as np
import zmq
from rich.console import Console
from rich.table import Table

from engines.bundle import ENCODER, TEMPORAL, Bundle, load_bundle
from engines.shrink import shrink
from pipeline.bench.live import VIDPIPE
from pipeline.bench.video import Video, own_video, scene_video

Run = Callable[[Any], dict[str, Any]]
Loops = dict[str, "subprocess.Popen[str]"]


def main() -> None:
    """Run every loop that can run here and vidpipe's bench between them, then print the ratios."""
    arguments = _arguments()
    if arguments.loop:
        _serve(arguments)
        return
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        video = own_video(arguments.video) if arguments.video else scene_video(Path(folder))
        loops = _start_loops(stack, video, arguments)
        rates: dict[str, list[float]] = {name: [] for name in loops}
        _rounds(loops, rates, arguments)
        bench = _vidpipe(video, arguments)
        _rounds(loops, rates, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps({"loops": rates, "vidpipe": bench}))
    _show(rates, bench, arguments)


# -- the parent ------------------------------------------------------------------------------------------------------


def _start_loops(stack: ExitStack, video: Video, arguments: argparse.Namespace) -> Loops:
    """One process per loop, with its engine loaded."""
    loops: Loops = {}
    for name in LOOPS:
        own = ["--loop", name, "--model", arguments.model, "--video", video.path, "--rate", str(arguments.rate)]
        process = subprocess.Popen(
            [sys.executable, __file__, *own], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.enter_context(process)
        assert process.stdin is not None
        assert process.stdout is not None
        stack.callback(process.stdin.close)
        if process.stdout.readline().strip() == "ready":
            loops[name] = process
        else:
            print(f"{name}: not measured, see the line above")
    return loops


def _rounds(loops: Loops, rates: dict[str, list[float]], arguments: argparse.Namespace) -> None:
    for _ in range(arguments.rounds):
        for name, process in loops.items():
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{arguments.seconds}\n")
            process.stdin.flush()
            rates[name].append(float(process.stdout.readline()))
            print(f"{name}: {rates[name][-1]:.2f} cameras", flush=True)


def _vidpipe(video: Video, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [*VIDPIPE, "bench", arguments.model, "--rates", str(arguments.rate), "--json"]
    command += ["--precision", arguments.precision, "--video", video.path]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _show(rates: dict[str, list[float]], bench: dict[str, Any], arguments: argparse.Namespace) -> None:
    rate = bench["rates"][0]
    own, precision = rate["capacity"], rate["limits"]["precision"]
    table = Table("", "cameras", "rounds", "vidpipe is", title=f"{bench['model']} at {arguments.rate:g} frames/s")
    for name, found in rates.items():
        middle = median(found)
        table.add_row(
            f"plain loop: {name}", f"{middle:.1f}", f"{min(found):.1f}-{max(found):.1f}", f"{own / middle:.2f} x"
        )
    table.add_row(f"vidpipe, live RTSP, encoder {precision}", str(own), "", "")
    Console().print(table)
    print(
        "a plain loop reads one file flat out on cores of its own; vidpipe reads live cameras that are served beside it"
    )


# -- one loop, in a process of its own ---------------------------------------------------------------------------------


def _serve(arguments: argparse.Namespace) -> None:
    """Load the engine, then run the loop for as many seconds as each line from the parent says."""
    bundle = load_bundle(arguments.model)
    try:
        encoder, temporal = LOOPS[arguments.loop](bundle)
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed")
    _loop(bundle, encoder, temporal, arguments, 2.0)  # warm-up
    print("ready", flush=True)
    for line in sys.stdin:
        print(_loop(bundle, encoder, temporal, arguments, float(line)), flush=True)


def _loop(bundle: Bundle, encoder: Run, temporal: Run, arguments: argparse.Namespace, seconds: float) -> float:
    """Camera-seconds a second of the plain loop over the file, again and again."""
    manifest = bundle.manifest
    state = {tensor.input: np.zeros((1, *tensor.shape), np.float32) for tensor in manifest.state}
    frame = np.empty((1, manifest.input.height, manifest.input.width, 3), np.uint8)
    publisher: zmq.SyncSocket = zmq.Context.instance().socket(zmq.PUB)
    publisher.bind("tcp://127.0.0.1:*")
    source_hz = own_video(arguments.video).fps
    dt, keep = np.full(1, 1 / arguments.rate, np.float32), np.ones(1, np.float32)
    frames, started_s = 0, time.perf_counter()
    for picture in _pictures(arguments.video, source_hz / arguments.rate):
        frames += 1
        if picture is not None:
            shrink(picture, frame[0])
            features = encoder({"frames": frame})["features"]
            answer = temporal({"features": features, "dt": dt, "keep": keep, **state})
            state = {tensor.input: answer[tensor.output] for tensor in manifest.state}
            publisher.send_multipart([b"cam/", msgspec.msgpack.encode(answer["prob"][0].tolist())])
        if time.perf_counter() - started_s > seconds:
            break
    rate = frames / source_hz / (time.perf_counter() - started_s)
    publisher.close(linger=0)
    return rate


def _pictures(video: Path, every: float) -> Iterator[np.ndarray | None]:
    """Every frame of the file, again and again; None where it is not due."""
    cv2.setNumThreads(1)
    number = 0
    while True:
        capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        while capture.grab():
            due = int(number / every) != int((number - 1) / every)
            yield np.asarray(capture.retrieve()[1], np.uint8) if due else None
            number += 1
        capture.release()


def _onnxruntime(bundle: Bundle) -> tuple[Run, Run]:
    import onnxruntime  # noqa: PLC0415

    def run(graph: str) -> Run:
        session = onnxruntime.InferenceSession(bundle.read(graph), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))

    return run(ENCODER), run(TEMPORAL)


def _openvino(bundle: Bundle, options: dict[str, str]) -> tuple[Run, Run]:
    """Compiled for batch 1; the step in float32, since a recurrent state drifts in less."""
    import openvino  # noqa: PLC0415

    core = openvino.Core()

    def run(graph: str, properties: dict[str, str]) -> Run:
        model = core.read_model(bundle.read(graph))
        model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
        compiled = core.compile_model(model, "CPU", properties)
        # a tensor that reaches two outputs has several names
        names = [port.node.friendly_name.removesuffix("/sink_port_0") for port in compiled.outputs]
        return lambda feeds: {
            name: np.array(array) for name, array in zip(names, compiled(feeds).values(), strict=True)
        }

    return run(ENCODER, options), run(TEMPORAL, {"INFERENCE_PRECISION_HINT": "f32"})


def _torch(bundle: Bundle) -> tuple[Run, Run]:
    """The same graphs, operator by operator: eager, with batch normalisation already folded."""
    from engines.eager import TorchEngine  # noqa: PLC0415
    from engines.engine import EngineOptions  # noqa: PLC0415

    encoder, temporal = (TorchEngine.open(bundle.read(graph), EngineOptions(graph)) for graph in (ENCODER, TEMPORAL))
    return encoder.run, temporal.run


def _torch_channels_last(bundle: Bundle) -> tuple[Run, Run]:
    """Weights of convolutions laid out channels-last, which oneDNN prefers."""
    import torch  # noqa: PLC0415

    return _torch_with(bundle, lambda weight: weight.contiguous(memory_format=torch.channels_last))


def _torch_bf16(bundle: Bundle) -> tuple[Run, Run]:
    """Channels-last, and autocast to bfloat16 with the weights cast once."""
    import torch  # noqa: PLC0415

    encoder, temporal = _torch_with(
        bundle, lambda weight: weight.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    )

    def run(feeds: Any) -> dict[str, Any]:
        with torch.autocast("cpu", torch.bfloat16):
            return encoder(feeds)

    return run, temporal


def _torch_with(bundle: Bundle, change: Callable[[Any], Any]) -> tuple[Run, Run]:
    from engines.eager import TorchEngine  # noqa: PLC0415
    from engines.engine import EngineOptions  # noqa: PLC0415

    engine = TorchEngine.open(_float_features(bundle.read(ENCODER)), EngineOptions(ENCODER))
    constants = engine._constants  # the weights are nobody else's business, and the layout is no part of the product
    constants.update({name: change(tensor) for name, tensor in constants.items() if tensor.dim() == 4})
    return engine.run, _torch(bundle)[1]


def _float_features(model: bytes) -> bytes:
    """The graph with a cast to float32 at its end: numpy knows no bfloat16."""
    import onnx  # noqa: PLC0415

    loaded = onnx.load_from_string(model)
    for node in loaded.graph.node:
        for index, name in enumerate(node.output):
            if name == "features":
                node.output[index] = "features_before_cast"
    cast = onnx.helper.make_node("Cast", ["features_before_cast"], ["features"], to=onnx.TensorProto.FLOAT)
    loaded.graph.node.append(cast)
    return bytes(loaded.SerializeToString())


LOOPS: dict[str, Callable[[Bundle], tuple[Run, Run]]] = {
    "torch eager": _torch,
    "torch eager, channels-last": _torch_channels_last,
    "torch eager, channels-last, bf16": _torch_bf16,
    "ONNX Runtime": _onnxruntime,
    "OpenVINO synchronous, f32": lambda bundle: _openvino(bundle, {"INFERENCE_PRECISION_HINT": "f32"}),
    "OpenVINO synchronous, its default": lambda bundle: _openvino(bundle, {}),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scene", help="a bundle's name or folder")
    parser.add_argument("--video", type=Path, help="a recording (H.264 without B frames); else the test scene")
    parser.add_argument("--rate", type=float, default=5.0, help="samples a second of each camera")
    parser.add_argument("--precision", default="auto", help="of vidpipe's encoder")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of one turn of a loop")
    parser.add_argument(
        "--rounds", type=int, default=2, help="turns of each loop before and again after vidpipe's bench"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to this file")
    parser.add_argument("--loop", choices=LOOPS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
