"""One vidpipe process put together: configuration to cameras, models, publisher and loop."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pipeline.capture.fleet import Fleet
from pipeline.config.file_watch import FileWatch
from pipeline.control.server import ControlServer
from pipeline.durability.checkpointer import Checkpointer
from pipeline.durability.folder import state_folder
from pipeline.durability.keeper import StateKeeper
from pipeline.inference.loop import Chores, InferenceLoop
from pipeline.keys.folder import server_keys
from pipeline.live import LiveCameras
from pipeline.operations.instance import instance_of
from pipeline.operations.metrics import Gauges
from pipeline.operations.monitor import Monitor
from pipeline.orders import Orders
from pipeline.prepared import check
from pipeline.publishing import Publishing, open_publishing
from pipeline.reload import Loader, Reloader
from pipeline.stop_signals import hang_ups_kept, stop_signals
from pipeline.stream.epoch import next_epoch

if TYPE_CHECKING:
    from pipeline.capture.supervisor import CameraState
    from pipeline.config.schema import Camera, Config
    from pipeline.stream.messages import Message


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to a configuration.

    `load` reads it anew for a reload, with the cameras that are to run; `watch` is looked at for changes each second.
    """

    duration_s: float | None = None
    backend: str | None = None
    insecure: bool = False
    load: Loader | None = None
    watch: FileWatch = field(default_factory=lambda: FileWatch(None))


@dataclass(frozen=True)
class Started:
    """What runs: the publisher's address, each model with what runs it and why, where metrics are, if anywhere.

    With `keys`, subscribers need one.
    """

    address: str
    models: tuple[str, ...]
    endpoint: str | None
    keys: bool


@dataclass(frozen=True)
class CameraOutcome:
    """How a camera stood at the end: state, reason, number of frames processed, and whether a signal ended the run."""

    name: str
    state: CameraState
    detail: str
    processed: int
    asked: bool = False


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
    settings = config.inference
    if options.backend is not None:
        settings = settings.model_copy(update={"backend": options.backend})
    with ExitStack() as stack:
        hang_ups = stack.enter_context(hang_ups_kept())
        monitor = stack.enter_context(Monitor(config.metrics.bind, instance=instance_of(config)))
        folder = stack.enter_context(state_folder(config))
        epoch = next_epoch(folder)
        keys = server_keys(config, insecure=options.insecure)
        publishing = stack.enter_context(open_publishing(config, folder, epoch, keys=keys, insecure=options.insecure))
        publisher = publishing.publisher
        checkpoints = folder / "checkpoints"
        checkpointer = stack.enter_context(Checkpointer(checkpoints, config.state.checkpoint_s))
        keeper = StateKeeper(checkpointer, checkpoints, epoch)
        fleet = stack.enter_context(Fleet())
        loop = InferenceLoop(fleet, publisher, _each(listener, monitor.observe), monitor.alarms)
        live = LiveCameras(fleet, loop, settings, insecure=options.insecure, keys=keys, keeper=keeper)
        stack.callback(live.close)
        checked = check(cameras)
        live.begin(checked)
        live.apply(live.open(checked))
        models = tuple(model.describe() for model in live.models.values())
        announce(Started(publisher.address, models, monitor.address, keys is not None))
        load = options.load or partial(_unchanged, config, cameras)
        reloader = Reloader(live, config, load, fleet.wake, options.watch, monitor=monitor)
        stack.enter_context(reloader)
        orders = Orders(live, reloader, fleet.wake)
        stack.enter_context(ControlServer(folder, orders.handlers))
        # what is loaded stays: no collection has to look at it again
        gc.freeze()
        chores = Chores(
            turn=_all(publisher.attend, orders.turn, reloader.turn, live.remember_when_due),
            second=_all(publisher.look, reloader.look, monitor.beat),
        )
        with stop_signals(fleet.wake, reloader.ask) as stopped:
            deadline_s = time.monotonic() + options.duration_s if options.duration_s else float("inf")
            monitor.gauges = partial(_gauges, publishing, checkpointer)
            monitor.ready()
            if hang_ups:
                reloader.ask()
            loop.run(lambda: stopped() or time.monotonic() >= deadline_s, chores)
        monitor.stopping()
        outcomes = [
            CameraOutcome(name, camera.state, camera.detail, loop.processed(name), asked=stopped())
            for name, camera in fleet.cameras.items()
        ]
        fleet.halt()
        loop.farewell()
        live.remember()
        return outcomes


def _unchanged(config: Config, cameras: Mapping[str, Camera]) -> tuple[Config, Mapping[str, Camera]]:
    return config, cameras


def _gauges(publishing: Publishing, checkpointer: Checkpointer) -> Gauges:
    """What the monitor asks each second."""
    publisher, journal = publishing.publisher, publishing.journal
    return Gauges(
        subscribers=publisher.subscribers,
        auth_failures=publisher.auth_failures,
        connections_ended=publishing.connections_ended,
        checkpoint_age_s=checkpointer.age_s,
        journal_backlog=journal.backlog if journal else None,
        alarms={
            "checkpoint": checkpointer.alarm,
            "journal": journal.alarm if journal else "",
            "connections": publishing.connection_alarm,
        },
    )


def _each(*listeners: Callable[[Message], None]) -> Callable[[Message], None]:
    def hear(message: Message) -> None:
        for listener in listeners:
            listener(message)

    return hear


def _all(*acts: Callable[[], None]) -> Callable[[], None]:
    def run_all() -> None:
        for act in acts:
            act()

    return run_all
