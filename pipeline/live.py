"""The cameras that run, with their models, memories and inputs; all but `prepare` belongs to the loop's thread."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.errors import StreamError
from pipeline.capture.fleet import Fleet
from pipeline.durability.keeper import Seat
from pipeline.inference.continuity import Cause
from pipeline.inference.loop import InferenceLoop
from pipeline.inference.models import OpenModel, open_model
from pipeline.inference.runner import ModelRunner
from pipeline.inference.session import CameraMemory
from pipeline.inputs.packing import InputPacker
from pipeline.inputs.plan import input_plans, unconfigured
from pipeline.inputs.receiver import InputReceiver
from pipeline.plan import capture_plan, load_bundles
from pipeline.prepared import Changes, Prepared

if TYPE_CHECKING:
    from engines.snapshot import Snapshot
    from pipeline.capture.supervisor import CameraSupervisor
    from pipeline.config.schema import Camera, Inference
    from pipeline.durability.keeper import StateKeeper
    from pipeline.inputs.receiver import InputPlan
    from pipeline.keys.server import ServerKeys

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Moving:
    """A camera between two seats, with all that it takes along."""

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
        self._settings, self._insecure, self._keeper = settings, insecure, keeper
        self._inputs: list[InputPlan] = []
        self._keys = keys
        self._receiver = InputReceiver([], insecure=insecure, keys=keys)

    def prepare(self, cameras: Mapping[str, Camera]) -> Prepared:
        """Check a set of cameras and open its models; changes nothing here. From any thread, one call at a time.

        Raises:
            ConfigError: a camera contradicts its model.
            ModelError: a model is missing, damaged, or does not run here.
        """
        bundles = load_bundles(cameras)
        plans = {name: capture_plan(name, camera, bundles[camera.model]) for name, camera in cameras.items()}
        inputs = input_plans(cameras, bundles)
        opened: dict[str, OpenModel] = {}
        try:
            for model, bundle in bundles.items():
                count = sum(camera.model == model for camera in cameras.values())
                now = self.models.get(model)
                if now is None or not now.fits(bundle, count):
                    live = any(camera.model == model and camera.source.live for camera in cameras.values())
                    opened[model] = open_model(bundle, self._settings, count, timed=live)
        except BaseException:
            for each in opened.values():
                each.close()
            raise
        return Prepared(cameras, bundles, plans, inputs, opened)

    def apply(self, prepared: Prepared) -> Changes:
        """Take over what was prepared.

        Raises:
            StreamError: the address of an input cannot be bound; nothing has changed then.
        """
        self._loop.drain()
        self._reopen_inputs(prepared)
        changes = self._compare(prepared)
        for name in changes.removed:
            self._drop(name)
        before = dict(self.runners)
        replaced = self._install(prepared)
        # all leave before the first is seated: cameras of two models that are full may change places
        moving = {
            name: self._unseat(name, before[camera.model], prepared)
            for name, camera in self.cameras.items()
            if name in prepared.cameras
        }
        for name, seated in moving.items():
            if seated is not None:
                self._seat(name, seated, prepared)
        for name in changes.added:
            self._add(name, prepared)
        self.cameras = dict(prepared.cameras)
        for model in [*replaced, *self._unused(prepared)]:
            model.close()
        for sentence in unconfigured(prepared.cameras, prepared.bundles):
            _log.warning("%s", sentence)
        return changes

    def interrupt(self, names: Iterable[str], cause: Cause) -> None:
        """Let the continuity policy decide what a cause from outside does to these cameras' memories."""
        for name in names:
            self.memories[name].interrupt(cause)

    def close(self) -> None:
        """Free the models and the inputs; the fleet is not its own."""
        self._receiver.close()
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

    def _install(self, prepared: Prepared) -> list[OpenModel]:
        """Put new engines under their models' names; gives those that were there, which still have their cameras."""
        replaced = [self.models[name] for name in prepared.opened if name in self.models]
        for name, model in prepared.opened.items():
            self.models[name] = model
            self.runners[name] = ModelRunner(
                model.encoder,
                model.temporal,
                [],
                self.memories,
                self._fleet.wake,
                inputs=self._packer(model),
                most=model.best_batch,
            )
        return replaced

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

    def _add(self, name: str, prepared: Prepared) -> None:
        plan, memory = prepared.plans[name], self._new_memory(name, prepared)
        manifest = prepared.bundles[prepared.cameras[name].model].manifest
        restored = self._keeper.restore(plan, manifest, memory) if self._keeper is not None else None
        if restored is None:
            self._seat(name, _Moving(self._fleet.add(plan), memory), prepared)
        else:
            supervisor = self._fleet.add(plan, restored.resume)
            supervisor.coded_size = restored.size
            self._seat(name, _Moving(supervisor, memory, restored.snapshot), prepared)

    def _drop(self, name: str) -> None:
        self._loop.remove(name)
        self.runners[self.cameras[name].model].dismiss(name)
        self._fleet.remove(name)
        del self.memories[name]

    def _unseat(self, name: str, before: ModelRunner, prepared: Prepared) -> _Moving | None:
        """Bring a camera that stays under its new settings, with as much of what it has as they allow.

        None where it keeps its seat.
        """
        old, new = self.cameras[name], prepared.cameras[name]
        memory, supervisor, processed = self.memories[name], self._fleet.cameras[name], before.processed[name]
        memory.policy = new.continuity
        read_anew = prepared.plans[name] != supervisor.plan
        remembers = memory.model.sha == prepared.sha(name) and old.fps == new.fps
        if not read_anew and remembers and before is self.runners[new.model]:
            return None
        snapshot = before.dismiss(name)
        if read_anew:
            supervisor, processed = self._fleet.replace(prepared.plans[name]), 0
        if remembers and (old.source, old.crop) != (new.source, new.crop):
            memory.interrupt(Cause.OPERATOR)
        if not remembers:
            cause = Cause.OPERATOR if memory.model.sha == prepared.sha(name) else Cause.MODEL_CHANGE
            self._loop.end(name, cause)
            before_it, memory = memory, self._new_memory(name, prepared)
            memory.succeed(before_it, cause)
        return _Moving(supervisor, memory, snapshot if remembers else None, processed)

    def _seat(self, name: str, moving: _Moving, prepared: Prepared) -> None:
        """Give a camera its place in a runner and in the loop."""
        runner = self.runners[prepared.cameras[name].model]
        self.memories[name] = moving.memory
        runner.enlist(moving.supervisor, moving.snapshot, moving.processed)
        self._loop.add(moving.supervisor, runner, moving.memory)

    def _new_memory(self, name: str, prepared: Prepared) -> CameraMemory:
        camera = prepared.cameras[name]
        model = self.models[camera.model]
        manifest = model.bundle.manifest
        return CameraMemory(name, manifest, model.info, camera.fps or manifest.input.fps, camera.continuity)

    def _reopen_inputs(self, prepared: Prepared) -> None:
        """Sockets stay as they are unless the configuration has other inputs now: then all are opened anew."""
        if prepared.inputs == self._inputs:
            return
        self._receiver.close()  # the same address may be bound again
        try:
            self._receiver = InputReceiver(prepared.inputs, insecure=self._insecure, keys=self._keys)
            self._inputs = prepared.inputs
        except StreamError:
            self._receiver = self._inputs_as_before()
            raise
        finally:
            for name, runner in self.runners.items():
                runner.inputs = self._packer(self.models[name])

    def _inputs_as_before(self) -> InputReceiver:
        """The sockets that were closed a moment ago; none where somebody has taken an address, or a key is gone."""
        try:
            return InputReceiver(self._inputs, insecure=self._insecure, keys=self._keys)
        except StreamError as error:
            _log.error("cameras run without their further inputs until the next reload: %s", error)
            self._inputs = []
            return InputReceiver([])

    def _packer(self, model: OpenModel) -> InputPacker | None:
        further = model.bundle.manifest.further
        return InputPacker(further, self._receiver) if further else None

    def _unused(self, prepared: Prepared) -> list[OpenModel]:
        names = [name for name in self.models if name not in prepared.bundles]
        for name in names:
            del self.runners[name]
        return [self.models.pop(name) for name in names]
