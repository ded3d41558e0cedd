"""Cameras that change their models while they run: none is left between two seats."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from engines.bundle import load_bundle
from engines.errors import StreamError
from engines.state_pool import StatePool
from pipeline import live as live_module
from pipeline.capture.fleet import Fleet
from pipeline.config.load import load_config
from pipeline.config.schema import Inference
from pipeline.inference.loop import InferenceLoop
from pipeline.inference.models import OpenModel
from pipeline.live import LiveCameras
from pipeline.prepared import Prepared
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


def test_cameras_of_two_full_models_change_places(tmp_path, monkeypatch, two_models):
    def cameras(first: str, second: str):
        models = {"a": first, "b": first, "c": second, "d": second}
        named = {name: {"source": "scene://", "model": model} for name, model in models.items()}
        path = tmp_path / "vidpipe.yaml"
        path.write_text(yaml.safe_dump({"cameras": named}))
        return load_config(path)

    monkeypatch.setattr(live_module, "open_model", idle_model)
    before = cameras(*two_models)
    with Fleet() as fleet, Publisher("tcp://127.0.0.1:*", epoch=1) as publisher:
        loop = InferenceLoop(fleet, publisher, lambda _: None)
        live = LiveCameras(fleet, loop, before.inference)
        live.apply(live.prepare(before.cameras))
        supervisors = dict(fleet.cameras)
        prepared = live.prepare(cameras(*reversed(two_models)).cameras)
        assert not prepared.opened, "both models have as many cameras as before"
        assert live.apply(prepared).changed == ("a", "b", "c", "d")
        assert fleet.cameras == supervisors, "they are read on"
        for name, camera in live.cameras.items():
            assert name in live.runners[camera.model].processed
            assert live.memories[name].model.sha == live.models[camera.model].bundle.sha
            assert loop.processed(name) == 0
        live.close()


def test_inputs_that_can_be_opened_neither_anew_nor_as_before_end_nothing(monkeypatch, caplog):
    real, may_open = live_module.InputReceiver, []

    def receiver(plans, **options):
        if plans and not may_open:
            raise StreamError("the address is taken")
        return real([], **options)

    monkeypatch.setattr(live_module, "InputReceiver", receiver)
    with Fleet() as fleet, Publisher("tcp://127.0.0.1:*", epoch=1) as publisher:
        live = LiveCameras(fleet, InferenceLoop(fleet, publisher, lambda _: None), Inference())
        may_open.append(True)
        live.apply(Prepared({}, {}, {}, ["old"], {}))
        may_open.clear()
        with pytest.raises(StreamError, match="is taken"):
            live.apply(Prepared({}, {}, {}, ["new"], {}))
        live._receiver.read()
        assert "run without their further inputs" in caplog.text
        may_open.append(True)
        live.apply(Prepared({}, {}, {}, ["old"], {}))
        assert live._inputs == ["old"], "the next reload opens them again"
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
