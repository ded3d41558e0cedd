"""One vidpipe process put together: configuration to cameras, models, publisher and loop."""

from __future__ import annotations

import gc
import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_state_dir

from engines.bundle import Bundle, load_bundle
from engines.encoder import Encoder
from engines.engine import AUTO_PRECISION, FULL_PRECISION
from engines.errors import ConfigError
from engines.temporal import Temporal
from pipeline.capture.fleet import Fleet
from pipeline.capture.supervisor import CameraState, CapturePlan
from pipeline.config.schema import Camera, Config
from pipeline.inference.loop import InferenceLoop
from pipeline.inference.runner import ModelRunner
from pipeline.inference.session import CameraMemory
from pipeline.inputs.packing import InputPacker
from pipeline.inputs.plan import input_plans, unconfigured
from pipeline.inputs.receiver import InputReceiver
from pipeline.stream.epoch import next_epoch
from pipeline.stream.messages import Message, ModelInfo
from pipeline.stream.publisher import Publisher

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to a configuration."""

    duration_s: float | None = None
    backend: str | None = None
    insecure: bool = False


@dataclass(frozen=True)
class Started:
    """What runs: the publisher's address, and each model with what runs it and why."""

    address: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class CameraOutcome:
    """How a camera stood at the end: its last state, the reason, and how many frames were processed."""

    name: str
    state: CameraState
    detail: str
    processed: int


def run(
    config: Config,
    cameras: Mapping[str, Camera],
    options: RunOptions,
    listener: Callable[[Message], None],
    announce: Callable[[Started], None] = lambda _: None,
) -> list[CameraOutcome]:
    """Run the cameras until they are all over, the time is up, or SIGINT or SIGTERM comes.

    `listener` sees every message as it was published, in this thread; `announce` is told once what runs.

    Raises:
        ConfigError: a camera contradicts its model.
        ModelError: a model is missing, damaged, or does not run here.
        StreamError: the address of the publisher or of an input cannot be bound.
    """
    bundles = load_bundles(cameras)
    plans = [capture_plan(name, camera, bundles[camera.model]) for name, camera in cameras.items()]
    inputs = input_plans(cameras, bundles)
    with ExitStack() as stack:
        epoch = next_epoch(Path(user_state_dir("vidpipe")))
        bind, wire = config.publish.bind, config.publish.format
        publisher = stack.enter_context(Publisher(bind, epoch=epoch, wire=wire, insecure=options.insecure))
        receiver = stack.enter_context(InputReceiver(inputs, insecure=options.insecure))
        for sentence in unconfigured(cameras, bundles):
            _log.warning("%s", sentence)
        engines = {
            model: _open_model(stack, bundle, config, options, len(cameras)) for model, bundle in bundles.items()
        }
        announce(Started(publisher.address, tuple(_describe(bundles[m], config, *pair) for m, pair in engines.items())))
        fleet = Fleet(plans)
        try:
            memories = {
                name: _memory(name, camera, bundles[camera.model], engines[camera.model][0])
                for name, camera in cameras.items()
            }
            packers = {
                model: InputPacker(bundle.manifest.further, receiver)
                for model, bundle in bundles.items()
                if bundle.manifest.further
            }
            runners = _runners(fleet, cameras, engines, memories, packers)
            # what is loaded stays: no collection has to look at it again
            gc.freeze()
            loop = InferenceLoop(fleet, runners, memories, publisher, listener)
            with _stop_signals(fleet.wake) as stopped:
                deadline_s = time.monotonic() + options.duration_s if options.duration_s else float("inf")
                loop.run(lambda: stopped() or time.monotonic() >= deadline_s)
            outcomes = [
                CameraOutcome(name, camera.state, camera.detail, runners[name].processed[name])
                for name, camera in fleet.cameras.items()
            ]
            fleet.halt()
            loop.farewell()
            return outcomes
        finally:
            fleet.close()


def load_bundles(cameras: Mapping[str, Camera]) -> dict[str, Bundle]:
    """The bundles that the cameras' models name, checked against their manifests."""
    return {model: load_bundle(model) for model in dict.fromkeys(camera.model for camera in cameras.values())}


def capture_plan(name: str, camera: Camera, bundle: Bundle) -> CapturePlan:
    """How the camera is read for its model.

    Raises:
        ConfigError: the camera asks for more frames a second than the model was made for.
    """
    seen = bundle.manifest.input
    if camera.fps and camera.fps > seen.fps:
        raise ConfigError(
            f"cameras.{name}.fps is {camera.fps:g}, but the model {bundle.name} was made for {seen.fps:g} frames a "
            f"second: leave fps out, or set at most {seen.fps:g}"
        )
    crop = (camera.crop.x, camera.crop.y, camera.crop.width, camera.crop.height) if camera.crop else None
    return CapturePlan(
        name=name,
        source=camera.source,
        height=seen.height,
        width=seen.width,
        rate_hz=camera.fps or seen.fps,
        crop=crop,
        transport=camera.transport,
        capture=camera.capture,
        tls_verify=camera.tls.verify,
        ca_file=camera.tls.ca_file,
        open_timeout_s=camera.open_timeout_s,
        stall_s=camera.stall_s,
    )


def _open_model(
    stack: ExitStack, bundle: Bundle, config: Config, options: RunOptions, cameras: int
) -> tuple[Encoder, Temporal]:
    backend = options.backend or config.inference.backend
    max_batch = min(config.inference.max_batch, cameras)
    threads, precision = config.inference.threads, config.inference.precision
    encoder = Encoder.open(bundle, backend, max_batch=max_batch, threads=threads, precision=precision)
    stack.callback(encoder.close)
    temporal = Temporal.open(bundle, backend, capacity=cameras, max_batch=max_batch)
    stack.callback(temporal.close)
    return encoder, temporal


def _describe(bundle: Bundle, config: Config, encoder: Encoder, temporal: Temporal) -> str:
    engine = f"{encoder.backend} {encoder.version.split('-')[0]}"
    chosen = config.inference.precision == AUTO_PRECISION and encoder.precision != FULL_PRECISION
    why = ", chosen by vidpipe build" if chosen else ""
    precision = f"encoder {encoder.precision}{why}, step {temporal.precision}"
    return f"model {bundle.name} {bundle.manifest.version} on {engine} ({precision}): {encoder.why.split(';')[0]}"


def _memory(name: str, camera: Camera, bundle: Bundle, encoder: Encoder) -> CameraMemory:
    manifest = bundle.manifest
    info = ModelInfo(manifest.name, manifest.version, bundle.sha, encoder.backend, encoder.precision)
    return CameraMemory(name, manifest, info, camera.fps or manifest.input.fps, camera.continuity)


def _runners(
    fleet: Fleet,
    cameras: Mapping[str, Camera],
    engines: Mapping[str, tuple[Encoder, Temporal]],
    memories: Mapping[str, CameraMemory],
    packers: Mapping[str, InputPacker],
) -> dict[str, ModelRunner]:
    """One runner per model, listed under each of its cameras."""
    runners = {}
    for model, (encoder, temporal) in engines.items():
        names = [name for name, camera in cameras.items() if camera.model == model]
        own = [fleet.cameras[name] for name in names]
        runner = ModelRunner(encoder, temporal, own, memories, fleet.wake, inputs=packers.get(model))
        runners.update(dict.fromkeys(names, runner))
    return runners


@contextmanager
def _stop_signals(wake: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM ask for an orderly stop; a second one ends the process at once."""
    received: list[int] = []

    def ask(number: int, _frame: object) -> None:
        received.append(number)
        wake()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
