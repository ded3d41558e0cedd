"""The cameras that run, with their models, memories and inputs; all but `prepare` belongs to the loop's thread."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.capture.fleet import Fleet
from pipeline.durability.keeper import Seat
from pipeline.inference.continuity import Cause
from pipeline.inference.loop import InferenceLoop
from pipeline.inference.models import OpenModel, open_model
from pipeline.inference.runner import ModelRunner
from pipeline.inference.session import CameraMemory
from pipeline.inputs.plan import unconfigured
from pipeline.live_inputs import LiveInputs
from pipeline.prepared import Changes, Checked, Prepared, check
from pipeline.stream.messages import ModelInfo

if TYPE_CHECKING:
    from engines.snapshot import Snapshot
    from pipeline.capture.supervisor import CameraSupervisor
    from pipeline.config.schema import Camera, Inference
    from pipeline.durability.keeper import StateKeeper
    from pipeline.keys.server import ServerKeys

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """A camera with all that it brings to a seat."""

    supervisor: CameraSupervisor
    memory: CameraMemory
    snapshot: Snapshot | None = None
    processed: int = 0


class LiveCameras:
    """Runs cameras in a loop, and takes over another set of them without disturbing those that stay the same."""

    def __init__(
        self,
        fleet: Fleet,
        loop: InferenceLoop,
        settings: Inference,
        *,
        insecure: bool = False,
        keys: ServerKeys | None = None,
        keeper: StateKeeper | None = None,
    ) -> None:
        self.cameras: dict[str, Camera] = {}
        self.models: dict[str, OpenModel] = {}
        self.memories: dict[str, CameraMemory] = {}
        self.runners: dict[str, ModelRunner] = {}  # by model
        self._fleet, self._loop = fleet, loop
        self._settings, self._keeper = settings, keeper
        self._inputs = LiveInputs(insecure=insecure, keys=keys)
        self._begun: dict[str, _Place] = {}

    def prepare(self, cameras: Mapping[str, Camera]) -> Prepared:
        """Check a set of cameras and open its models; changes nothing here. From any thread, one call at a time.

        Raises:
            ConfigError: a camera contradicts its model.
            ModelError: a model is missing, damaged, or does not run here.
        """
        return self.open(check(cameras))

    def open(self, checked: Checked) -> Prepared:
        """The second half of `prepare`."""
        cameras = checked.cameras.values()
        opened: dict[str, OpenModel] = {}
        with ExitStack() as undo:
            for model, bundle in checked.bundles.items():
                count = sum(camera.model == model for camera in cameras)
                now = self.models.get(model)
                if now is None or not now.fits(bundle, count):
                    live = any(camera.model == model and camera.source.live for camera in cameras)
                    opened[model] = open_model(bundle, self._settings, count, timed=live)
                    undo.callback(opened[model].close)
            undo.pop_all()
        return Prepared(checked.cameras, checked.bundles, checked.plans, checked.inputs, opened)

    def begin(self, checked: Checked) -> None:
        """Have cameras that go on with a memory connect while models are being opened: each second widens its gap.

        For others, frames that come before their model is ready would only be dropped. Before the first `apply` only.

        Raises:
            StreamError: the address of an input cannot be bound; no camera was touched then.
            OSError: the system has no memory or descriptors left for the cameras.
        """
        self._inputs.reopen(checked.inputs)
        with ExitStack() as undo:
            begun = {name: self._new_place(name, checked, undo) for name in checked.cameras}
            undo.pop_all()
        self._begun = begun
        for place in begun.values():
            if place.snapshot is not None:
                self._fleet.admit(place.supervisor)
        self._fleet.start()

    def apply(self, prepared: Prepared) -> Changes:
        """Take over what was prepared, or, where that cannot be done, close it and leave everything as it was.

        Raises:
            StreamError: the address of an input cannot be bound.
            ModelError: an engine fails.
            OSError: the system has no memory or descriptors left for further cameras.
        """
        changes, before = self._compare(prepared), self.models
        with ExitStack() as undo:
            undo.callback(prepared.close)
            self._loop.drain()
            last = {name: self._loop.last_status(name) for name in changes.removed}
            places = self._rearrange(prepared, changes, undo)
            undo.pop_all()
        # from here on nothing can fail that could not fail in any turn of the loop
        for name, status in last.items():
            self._loop.remove(name, status)
            self._fleet.remove(name)
            del self.memories[name]
        for name, place in places.items():
            self._settle(name, place, prepared)
        for name, camera in prepared.cameras.items():
            self.memories[name].policy = camera.continuity
        self.cameras, self._begun = dict(prepared.cameras), {}
        self._tidy(before, prepared)
        for sentence in unconfigured(prepared.cameras, prepared.bundles):
            _log.warning("%s", sentence)
        return changes

    def interrupt(self, names: Iterable[str], cause: Cause) -> None:
        """Let the continuity policy decide what a cause from outside does to these cameras' memories."""
        for name in names:
            self.memories[name].interrupt(cause)

    def remember_when_due(self) -> None:
        """Take checkpoints at their time; cheap enough for each turn of the loop."""
        if self._keeper is not None and self._keeper.due():
            self.remember()

    def remember(self) -> None:
        """Take checkpoints of all cameras; only between two steps."""
        if self._keeper is not None:
            self._keeper.save(
                Seat(self._fleet.cameras[name], self.runners[camera.model], self.memories[name])
                for name, camera in self.cameras.items()
            )

    def close(self) -> None:
        """Free the models and the inputs; the fleet is not its own."""
        self._inputs.close()
        for name, place in self._begun.items():
            if name not in self._fleet.cameras:
                place.supervisor.close()
        for model in self.models.values():
            model.close()

    def _compare(self, prepared: Prepared) -> Changes:
        new, old = prepared.cameras, self.cameras
        both = [name for name in new if name in old]
        return Changes(
            added=tuple(name for name in new if name not in old),
            removed=tuple(name for name in old if name not in new),
            changed=tuple(n for n in both if old[n] != new[n] or self.memories[n].model.sha != prepared.sha(n)),
        )

    def _rearrange(self, prepared: Prepared, changes: Changes, undo: ExitStack) -> dict[str, _Place]:
        """Open inputs and put cameras into their new seats; gives those that have one. `undo` puts everything back."""
        runners, plans = self.runners, self._inputs.plans
        undo.callback(self._use, self.models, runners)
        self._inputs.reopen(prepared.inputs)
        if self._inputs.plans is not plans:
            undo.callback(self._inputs.restore, plans)
        new = {name: self._new_runner(model) for name, model in prepared.opened.items()}
        self._use({**self.models, **prepared.opened}, {**runners, **new})
        moving = {name: self._move(name, runners, prepared, undo) for name in prepared.cameras if name in self.cameras}
        places = {name: place for name, place in moving.items() if place is not None}
        # all leave before the first is seated: cameras of two models that are full may change places
        for name in (*changes.removed, *places):
            snapshot = self._unseat(name, runners[self.cameras[name].model], undo)
            if name in places and places[name].memory is self.memories[name]:
                places[name] = replace(places[name], snapshot=snapshot)
        for name in changes.added:
            places[name] = self._begun.get(name) or self._new_place(name, prepared, undo)
        for name, place in places.items():
            runner = self.runners[prepared.cameras[name].model]
            runner.enlist(place.supervisor, place.snapshot, place.processed)
            undo.callback(runner.dismiss, name)
        return places

    def _use(self, models: dict[str, OpenModel], runners: dict[str, ModelRunner]) -> None:
        self.models, self.runners = models, runners
        for name, runner in runners.items():
            runner.inputs = self._inputs.packer(models[name])

    def _new_runner(self, model: OpenModel) -> ModelRunner:
        return ModelRunner(model.encoder, model.temporal, [], self.memories, self._fleet.wake, most=model.best_batch)

    def _move(self, name: str, before: Mapping[str, ModelRunner], prepared: Prepared, undo: ExitStack) -> _Place | None:
        """What a camera that stays takes along, as much as its new settings allow; None where it keeps its seat."""
        old, new = self.cameras[name], prepared.cameras[name]
        memory, supervisor, runner = self.memories[name], self._fleet.cameras[name], before[old.model]
        read_anew = prepared.plans[name] != supervisor.plan
        remembers = memory.model.sha == prepared.sha(name) and old.fps == new.fps
        if not read_anew and remembers and runner is self.runners[new.model]:
            return None
        if not remembers:
            memory = self._new_memory(name, prepared)
        if not read_anew:
            return _Place(supervisor, memory, processed=runner.processed[name])
        supervisor = self._fleet.make(prepared.plans[name], supervisor.ring.last_written())
        undo.callback(supervisor.close)
        return _Place(supervisor, memory)

    def _unseat(self, name: str, runner: ModelRunner, undo: ExitStack) -> Snapshot:
        processed = runner.processed[name]
        snapshot = runner.dismiss(name)
        undo.callback(runner.enlist, self._fleet.cameras[name], snapshot, processed)
        return snapshot

    def _settle(self, name: str, place: _Place, prepared: Prepared) -> None:
        """Have a camera that has its seat captured, remembered and looped as it is to be from now on."""
        old, new, memory = self.cameras.get(name), prepared.cameras[name], self.memories.get(name)
        if memory is not None and memory is not place.memory:
            cause = Cause.OPERATOR if memory.model.sha == prepared.sha(name) else Cause.MODEL_CHANGE
            self._loop.end(name, cause)
            place.memory.succeed(memory, cause)
        elif old is not None and (old.source, old.crop) != (new.source, new.crop):
            place.memory.interrupt(Cause.OPERATOR)
        if self._fleet.cameras.get(name) is not place.supervisor:
            if name in self._fleet.cameras:
                self._fleet.remove(name)
            self._fleet.admit(place.supervisor)
        place.memory.model = self.models[new.model].info
        self.memories[name] = place.memory
        self._loop.add(place.supervisor, self.runners[new.model], place.memory)

    def _new_place(self, name: str, checked: Checked, undo: ExitStack) -> _Place:
        plan, memory = checked.plans[name], self._new_memory(name, checked)
        manifest = checked.bundle(name).manifest
        restored = self._keeper.restore(plan, manifest, memory) if self._keeper is not None else None
        supervisor = self._fleet.make(plan, restored.resume if restored else None)
        undo.callback(supervisor.close)
        if restored is None:
            return _Place(supervisor, memory)
        supervisor.coded_size = restored.size
        return _Place(supervisor, memory, restored.snapshot)

    def _new_memory(self, name: str, checked: Checked) -> CameraMemory:
        """Nobody knows yet what will run its model: `_settle` says it."""
        camera, manifest = checked.cameras[name], checked.bundle(name).manifest
        model = ModelInfo(manifest.name, manifest.version, checked.sha(name), "", "")
        return CameraMemory(name, manifest, model, camera.fps or manifest.input.fps, camera.continuity)

    def _tidy(self, before: Mapping[str, OpenModel], prepared: Prepared) -> None:
        """Close the models that no camera has any more."""
        for name in [name for name in self.models if name not in prepared.bundles]:
            del self.models[name], self.runners[name]
        for name, model in before.items():
            if self.models.get(name) is not model:
                model.close()
