"""Cameras that change their models while they run: none is left between two seats."""

from __future__ import annotations

import mmap
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from engines.bundle import load_bundle
from engines.errors import ModelError, StreamError
from engines.snapshot import Snapshot
from engines.state_pool import StatePool
from pipeline import live as live_module
from pipeline import live_inputs
from pipeline.capture.fleet import Fleet
from pipeline.config.load import load_config
from pipeline.config.schema import Config, Inference
from pipeline.durability.keeper import Restored
from pipeline.inference.loop import InferenceLoop
from pipeline.inference.models import OpenModel
from pipeline.inference.runner import ModelRunner
from pipeline.live import LiveCameras
from pipeline.prepared import Checked, Prepared, check
from pipeline.stream.publisher import Publisher


class IdleEncoder:
    """One that is never given a frame."""

    requests, max_batch, lends_features = 1, 1, False
    backend = precision = "none"

    def listen(self, _finished) -> bool:
        return True

    def fit(self, _count) -> int:
        return 1

    def frames(self, _request):
        return np.zeros((1, 4, 4, 3), np.uint8)

    def start(self, _request, _count) -> None:
        raise AssertionError("the loop's thread must not time an encoder")

    def close(self) -> None: ...


def idle_model(bundle, settings, cameras, *, timed=False):
    """A model without a back end, with a real state pool of exactly so many rows."""
    temporal = SimpleNamespace(pool=StatePool(bundle.manifest, bundle.sha, cameras), close=lambda: None)
    return OpenModel(bundle, IdleEncoder(), temporal, settings.max_batch, settings, 1 if timed else None)


@pytest.fixture
def two_models(tmp_path):
    """The names of two models with different hashes."""
    newer = tmp_path / "newer"
    shutil.copytree(load_bundle("scene").folder, newer)
    manifest = newer / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("version: 1.0.0", "version: 1.0.1"))
    return "scene", str(newer)


def configured(folder: Path, **cameras: dict) -> Config:
    path = folder / "vidpipe.yaml"
    path.write_text(
        yaml.safe_dump({"cameras": {name: {"source": "scene://", **each} for name, each in cameras.items()}})
    )
    return load_config(path)


@contextmanager
def running(config: Config) -> Iterator[LiveCameras]:
    """Cameras that are seated and looped, and never captured."""
    with Fleet() as fleet, Publisher("tcp://127.0.0.1:*", epoch=1) as publisher:
        live = LiveCameras(fleet, InferenceLoop(fleet, publisher, lambda _: None), config.inference)
        live.apply(live.prepare(config.cameras))
        yield live
        live.close()


def test_cameras_of_two_full_models_change_places(tmp_path, monkeypatch, two_models):
    def cameras(first: str, second: str):
        models = {"a": first, "b": first, "c": second, "d": second}
        return configured(tmp_path, **{name: {"model": model} for name, model in models.items()})

    monkeypatch.setattr(live_module, "open_model", idle_model)
    with running(cameras(*two_models)) as live:
        supervisors = dict(live._fleet.cameras)
        prepared = live.prepare(cameras(*reversed(two_models)).cameras)
        assert not prepared.opened, "both models have as many cameras as before"
        assert live.apply(prepared).changed == ("a", "b", "c", "d")
        assert live._fleet.cameras == supervisors, "they are read on"
        for name, camera in live.cameras.items():
            assert name in live.runners[camera.model].processed
            assert live.memories[name].model.sha == live.models[camera.model].bundle.sha
            assert live._loop.processed(name) == 0


class Remembering:
    """A keeper that has the memory of one camera."""

    def __init__(self, remembers: str, snapshot: Snapshot) -> None:
        self._remembers, self._snapshot = remembers, snapshot

    def restore(self, plan, _manifest, _memory) -> Restored | None:
        return Restored(self._snapshot, (0, time.monotonic_ns()), None) if plan.name == self._remembers else None


def test_a_camera_that_remembers_connects_before_its_model_is_open_and_no_other_does(tmp_path, monkeypatch):
    monkeypatch.setattr(live_module, "open_model", idle_model)
    cameras = configured(tmp_path, a={"model": "scene"}, b={"model": "scene"}).cameras
    bundle = load_bundle("scene")
    rows = StatePool(bundle.manifest, bundle.sha, 1)
    snapshot = rows.snapshot(rows.acquire("a"), age_steps=1, age_s=0.2)
    with Fleet() as fleet, Publisher("tcp://127.0.0.1:*", epoch=1) as publisher:
        loop = InferenceLoop(fleet, publisher, lambda _: None)
        live = LiveCameras(fleet, loop, Inference(), keeper=Remembering("a", snapshot))
        checked = check(cameras)
        live.begin(checked)
        assert list(fleet.cameras) == ["a"]
        early = fleet.cameras["a"]
        assert early.process is not None
        while early.ring.backlog < 3:
            fleet.wait(1.0)  # as nobody does while models are opened; what comes waits in the ring
        assert live.apply(live.open(checked)).added == ("a", "b")
        assert (fleet.cameras["a"], list(fleet.cameras)) == (early, ["a", "b"])
        assert early.connections == 1
        assert live.memories["a"].model.backend == "none", "what runs the model is known by now"
        live.close()


def test_a_model_that_cannot_be_opened_ends_the_captures_that_have_begun(tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise ModelError("it is damaged")

    monkeypatch.setattr(live_module, "open_model", fail)
    config = configured(tmp_path, a={"model": "scene"}, b={"model": "scene"})
    files = open_files()
    with Fleet() as fleet, Publisher("tcp://127.0.0.1:*", epoch=1) as publisher:
        loop = InferenceLoop(fleet, publisher, lambda _: None)
        snapshot = Snapshot("", 1, 0.2, {})
        with closing(LiveCameras(fleet, loop, Inference(), keeper=Remembering("a", snapshot))) as live:
            checked = check(config.cameras)
            live.begin(checked)
            process = fleet.cameras["a"].process
            with pytest.raises(ModelError, match="damaged"):
                live.open(checked)
    assert process.is_gone()
    assert open_files() == files


@pytest.mark.parametrize("fails_at", ["begin", "apply"])
def test_a_start_that_fails_half_way_gives_each_descriptor_back_once(tmp_path, monkeypatch, fails_at):
    """What is closed twice may be somebody else's by then."""
    monkeypatch.setattr(live_module, "open_model", idle_model)
    checked = check(configured(tmp_path, a={"model": "scene"}, b={"model": "scene"}).cameras)
    owner, method = {"begin": (os, "pipe"), "apply": (ModelRunner, "enlist")}[fails_at]
    real, calls = getattr(owner, method), iter((True, False))

    def fail_the_second_time(*args):
        if not next(calls, True):
            raise OSError(24, "Too many open files")
        return real(*args)

    with Fleet() as fleet, Publisher("tcp://127.0.0.1:*", epoch=1) as publisher:
        files = open_files()
        live = LiveCameras(fleet, InferenceLoop(fleet, publisher, lambda _: None), Inference())
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, fail_the_second_time)
            with pytest.raises(OSError, match="Too many"):
                started(live, checked)
        others = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
        live.close()
        for each in others:
            os.close(each)
        assert open_files() == files


def standing(live: LiveCameras) -> dict[str, tuple]:
    """All that decides how each camera goes on: what it is read by, what it remembers, and where it is looped."""
    found = {}
    for name, camera in live.cameras.items():
        runner, lane = live.runners[camera.model], live._loop._lanes[name]
        assert (lane.camera, lane.runner, lane.memory) == (live._fleet.cameras[name], runner, live.memories[name])
        snapshot = runner.snapshots({name: (0, 0.0)})[0]
        state = {tensor: saved.data for tensor, saved in snapshot.tensors.items()}
        found[name] = (camera, lane.camera, lane.memory, live.models[camera.model], runner.processed[name], state)
    return found


def started(live: LiveCameras, checked: Checked) -> None:
    live.begin(checked)
    live.apply(live.open(checked))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("fault", [OSError(24, "Too many open files"), ModelError("the engine"), RuntimeError("CUDA")])
@pytest.mark.parametrize(
    ("owner", "method"),
    [(mmap, "mmap"), (os, "pipe"), (StatePool, "acquire"), (StatePool, "snapshots"), (ModelRunner, "_make_batcher")],
)
def test_what_fails_half_way_changes_nothing(tmp_path, monkeypatch, two_models, owner, method, fault):
    """Each call of the method in turn is the one that fails, until the whole set is taken over."""
    one, other = two_models
    monkeypatch.setattr(live_module, "open_model", idle_model)
    before = configured(tmp_path, a={"model": one}, b={"model": one}, c={"model": other}, d={"model": one})
    changed = {"model": one, "crop": {"x": 0.1, "y": 0.1, "width": 0.5, "height": 0.5}}
    after = configured(tmp_path, a={"model": other}, b=changed, c={"model": other}, e={"model": one}, f={"model": one})
    with running(before) as live:
        for number, runner in enumerate({id(each): each for each in live.runners.values()}.values()):
            pool = runner._temporal.pool
            for name, row in pool.rows.items():
                pool._store.write(row, {key: np.full(shape, number + ord(name)) for key, shape in pool._shapes.items()})
        stood, files = standing(live), open_files()
        real, failures = getattr(owner, method), 0
        while True:
            calls = iter(range(failures, -1, -1))

            def fail_once(*args, _calls=calls, **options):
                if next(_calls, 1) == 0:
                    raise fault
                return real(*args, **options)

            prepared = live.prepare(after.cameras)
            with monkeypatch.context() as patch:
                patch.setattr(owner, method, fail_once)
                try:
                    changes = live.apply(prepared)
                    break
                except type(fault):
                    failures += 1
            assert str(standing(live)) == str(stood)
            assert open_files() == files
        assert failures >= 1
        assert (changes.added, changes.removed, changes.changed) == (("e", "f"), ("d",), ("a", "b"))
        camera, _, memory, _, processed, state = stood["c"]
        now = standing(live)["c"]
        assert (now[0], now[2], now[4], now[5]) == (camera, memory, processed, state), "its model has more rows now"


def test_inputs_that_can_be_opened_neither_anew_nor_as_before_end_nothing(monkeypatch, caplog):
    real, may_open = live_inputs.InputReceiver, []

    def receiver(plans, **options):
        if plans and not may_open:
            raise StreamError("the address is taken")
        return real([], **options)

    monkeypatch.setattr(live_inputs, "InputReceiver", receiver)
    with Fleet() as fleet, Publisher("tcp://127.0.0.1:*", epoch=1) as publisher:
        live = LiveCameras(fleet, InferenceLoop(fleet, publisher, lambda _: None), Inference())
        may_open.append(True)
        live.apply(Prepared({}, {}, {}, ["old"], {}))
        may_open.clear()
        with pytest.raises(StreamError, match="is taken"):
            live.apply(Prepared({}, {}, {}, ["new"], {}))
        live._inputs._receiver.read()
        assert "run without their further inputs" in caplog.text
        may_open.append(True)
        live.apply(Prepared({}, {}, {}, ["old"], {}))
        assert live._inputs.plans == ["old"], "the next reload opens them again"
        live.close()


def test_a_camera_that_follows_one_that_was_over_has_its_events_left_alone(monkeypatch):
    """A file is over, frames of it are still to be processed, and a reload puts another source in its place."""
    closed: list[str] = []

    def lane(name: str, *, over: bool, backlog: int):
        ring = SimpleNamespace(backlog=backlog)
        camera = SimpleNamespace(plan=SimpleNamespace(name="a"), ring=ring, over=over, state=None, detail="")
        runner = SimpleNamespace(in_flight=0, wakes=True, in_flight_of=lambda _: 0, look=lambda: None)
        runner.submit, runner.finish = (lambda: None), (lambda: ())
        return camera, runner, SimpleNamespace(close=lambda: closed.append(name) or ())

    fleet = SimpleNamespace(over=False, arrived=(), wait=lambda _: True)
    loop = InferenceLoop(fleet, None, lambda _: None)
    monkeypatch.setattr(InferenceLoop, "_status", lambda *_: None)
    monkeypatch.setattr(InferenceLoop, "_send", lambda _, messages: list(messages))
    turns = iter([False, True])
    loop.add(*lane("file", over=True, backlog=3))
    loop.run(lambda: next(turns))
    assert closed == []
    loop.add(*lane("camera", over=False, backlog=0))
    turns = iter([False, True])
    loop.run(lambda: next(turns))
    assert closed == []
