"""The TensorRT runner against a GPU that is none: numbers, order, memory, graph replay, and each way it can fail."""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fake_gpu
import numpy as np
import pytest

from engines import backends, gpu, trt_cache, trt_plan
from engines.arena import with_arena
from engines.backends import BACKENDS, open_engines
from engines.bundle import Bundle
from engines.encoder import Encoder
from engines.engine import EngineOptions
from engines.errors import BackendError, MissingExtraError
from engines.gpu import Driver, Gpu
from engines.temporal import Temporal
from engines.trt_encoder import DeviceEncoder, DeviceFeatures
from engines.trt_load import TensorRt
from engines.trt_temporal import DeviceTemporal
from engines.verify import verify

OPTIONS = EngineOptions("tiny.onnx", requests=2, max_batch=4)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child process would not see the fake; and plans of one test are not another's."""
    monkeypatch.setitem(BACKENDS, "tensorrt", replace(BACKENDS["tensorrt"], may_crash=False))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_gpu.Machine]:
    yield from fake_gpu.install(monkeypatch)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 8, 3), np.uint8)


def expected(bundle: Bundle, frames: np.ndarray) -> np.ndarray:
    with Encoder.open(bundle, "onnxruntime", max_batch=8, requests=1) as encoder:
        encoder.frames(0)[: len(frames)] = frames
        encoder.start(0, len(frames))
        return encoder.wait(0)


def test_a_bundle_is_verified_in_all_its_checks(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    report = verify(tiny, ["tensorrt"], steps=60, cameras=4)
    assert [check.check for check in report.checks if not check.passed] == []
    assert {check.backend for check in report.checks} == {"tensorrt"}
    assert machine.launches > 200


def test_auto_picks_it_where_there_is_a_gpu(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    with Encoder.open(tiny, max_batch=4) as encoder, Temporal.open(tiny, capacity=3) as temporal:
        assert isinstance(encoder, DeviceEncoder)
        assert isinstance(temporal, DeviceTemporal)
        for each in (encoder, temporal):
            assert (each.backend, each.device, each.version) == ("tensorrt", fake_gpu.NAME, fake_gpu.VERSION)
            assert (each.precision, each.why) == ("f32", "picked by auto as the best of those that work here")


def test_features_go_from_encoder_to_step_without_leaving_the_device(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    with (
        Encoder.open(tiny, "tensorrt", max_batch=4) as encoder,
        Temporal.open(tiny, "tensorrt", capacity=3) as temporal,
        Temporal.open(tiny, "onnxruntime", capacity=3) as host,
    ):
        rows = [temporal.pool.acquire(name) for name in "abc"]
        host_rows = [host.pool.acquire(name) for name in "abc"]
        machine.copied.clear()
        for seed in range(5):
            frames = pictures(3, seed)
            encoder.frames(0)[:3] = frames
            encoder.start(0, 3)
            features = encoder.wait(0)
            assert isinstance(features, DeviceFeatures)
            result = temporal.step(rows, features, [0.2] * 3, [seed > 0] * 3)
            assert features.on_device
            del features  # held any longer, it would be copied down before its memory is used again
            wanted = host.step(host_rows, expected(tiny, frames), [0.2] * 3, [seed > 0] * 3)
            np.testing.assert_allclose(result.prob, wanted.prob, atol=1e-6)
        down = [nbytes for direction, nbytes in machine.copied if direction == "down"]
        assert sorted(set(down)) == [
            4 * 4,
            4 * 3 * 4,
        ]  # ok, prob and logits of a batch padded to 4; no features, no state


def test_features_that_are_kept_outlive_their_request(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    with Encoder.open(tiny, "tensorrt", max_batch=4) as encoder:
        kept = []
        for seed in range(4):
            encoder.frames(seed % 2)[:2] = pictures(2, seed)
            encoder.start(seed % 2, 2)
            kept.append(encoder.wait(seed % 2))
    for seed, features in enumerate(kept):  # of a closed encoder
        assert features.shape == (2, 5)
        np.testing.assert_allclose(np.asarray(features), expected(tiny, pictures(2, seed)), atol=1e-6)


def test_features_from_the_device_serve_a_step_on_the_host(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    with (
        Encoder.open(tiny, "tensorrt", max_batch=4) as encoder,
        Temporal.open(tiny, "onnxruntime", capacity=2) as temporal,
    ):
        encoder.frames(0)[:2] = pictures(2)
        encoder.start(0, 2)
        features = encoder.wait(0)
        np.testing.assert_array_equal(features[1], np.asarray(features)[1])
        rows = [temporal.pool.acquire(name) for name in "ab"]
        found = temporal.step(rows, features, [0.1] * 2, [0] * 2).prob
        assert found.shape == (2, 3)
        np.testing.assert_allclose(
            found, temporal.step(rows, expected(tiny, pictures(2)), [1] * 2, [0] * 2).prob, atol=1e-5
        )


def test_two_requests_in_flight_do_not_mix(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    with Encoder.open(tiny, "tensorrt", max_batch=4) as encoder:
        for seed in range(5):
            for request in (0, 1):
                encoder.frames(request)[:3] = pictures(3, 2 * seed + request)
                encoder.start(request, 3)
            for request in (1, 0):
                while not encoder.done(request):
                    pass
                found = np.asarray(encoder.wait(request))
                np.testing.assert_allclose(found, expected(tiny, pictures(3, 2 * seed + request)), atol=1e-6)


def test_wrong_use_is_refused_as_by_the_usual_encoder(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    with Encoder.open(tiny, "tensorrt", max_batch=4) as encoder:
        with pytest.raises(ValueError, match="request 0 was not started"):
            encoder.wait(0)
        with pytest.raises(ValueError, match="started with 5 pictures, allowed are 1 to 4"):
            encoder.start(0, 5)
        encoder.start(0, 1)
        with pytest.raises(ValueError, match="request 0 is running"):
            encoder.start(0, 1)


def test_a_step_with_pools_runs_by_itself_as_the_try_in_a_child_does(machine: fake_gpu.Machine, graphs: object) -> None:
    model = with_arena(graphs.temporal(), [("h", "h_next"), ("c", "c_next")])
    (engine,) = open_engines(model, "tensorrt", [replace(OPTIONS, rows=64)]).engines
    for batch in (1, 3):
        lengths = [[batch if length is None else length for length in spec.shape] for spec in engine.inputs]
        feeds = {spec.name: np.zeros(shape, spec.dtype) for spec, shape in zip(engine.inputs, lengths, strict=True)}
        outputs = engine.run(feeds)
        assert {len(array) for array in outputs.values()} == {batch}
        assert outputs["ok"].tolist() == [1] * batch


def test_every_batch_is_one_replayed_graph(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    with Encoder.open(tiny, "tensorrt", max_batch=4) as encoder:
        machine.launches = machine.runs = 0
        for count in (1, 2, 3, 4, 3, 1):
            encoder.frames(0)[:count] = pictures(count, count)
            encoder.start(0, count)
            np.testing.assert_allclose(np.asarray(encoder.wait(0)), expected(tiny, pictures(count, count)), atol=1e-6)
        assert (machine.launches, machine.runs) == (6, 6)


def test_without_graphs_it_runs_all_the_same_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tiny: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    for machine in fake_gpu.install(monkeypatch, refuses_capture=True):
        with caplog.at_level(logging.WARNING, "vidpipe.tensorrt"):
            report = verify(tiny, ["tensorrt"], steps=20, cameras=2)
        assert report.passed
        assert machine.launches == 0
    assert "without a CUDA graph: cuStreamEndCapture says CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" in caplog.messages


def test_the_pool_is_on_the_device_and_keeps_its_contract(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    with Temporal.open(tiny, "tensorrt", capacity=2) as temporal:
        row, other = temporal.pool.acquire("a"), temporal.pool.acquire("b")
        features = np.ones((1, 5), np.float32)
        for _ in range(3):
            temporal.step([row], features, [0.1], [1])
        assert all(np.abs(values).max() > 0 for values in temporal.pool.gather(np.array([row])).values())
        assert all(np.abs(values).max() == 0 for values in temporal.pool.gather(np.array([other])).values())
        snapshot = temporal.pool.snapshot(row, age_steps=3, age_s=0.3)
        temporal.pool.restore(other, snapshot)
        one, two = (temporal.step([each], features, [0.1], [1]).prob for each in (row, other))
        np.testing.assert_array_equal(one, two)
        temporal.pool.release(row)
        row = temporal.pool.acquire("c")
        assert all(np.abs(values).max() == 0 for values in temporal.pool.gather(np.array([row])).values())
        rows = np.array([row, other])
        values = {"h_next": np.full((2, 4), 2, np.float32), "c_next": np.full((2, 4), 3, np.float32)}
        temporal.pool.scatter(rows, values)
        assert {name: set(each.ravel().tolist()) for name, each in temporal.pool.gather(rows).items()} == {
            "h": {2.0},
            "c": {3.0},
        }
        values = {name: np.arange(8, dtype=np.float32).reshape(2, 4) + k for k, name in enumerate(values)}
        temporal.pool.scatter(rows, values)
        np.testing.assert_array_equal(temporal.pool.gather(rows[::-1])["h"], values["h_next"][::-1])
        with pytest.raises(ValueError, match="row 1 is in the batch twice"):
            temporal.step([1, 1], np.ones((2, 5), np.float32), [1, 1], [1, 1])
        assert temporal.step([], np.zeros((0, 5), np.float32), [], []).prob.shape == (0, 3)


def test_a_failed_step_changes_no_row(machine: fake_gpu.Machine, tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with Temporal.open(tiny, "tensorrt", capacity=2) as temporal:
        row = temporal.pool.acquire("a")
        temporal.step([row], np.ones((1, 5), np.float32), [0.1], [1])
        before = temporal.pool.snapshot(row, age_steps=1, age_s=0.1)
        for features, dt in ((np.ones((1, 4), np.float32), [0.1]), (np.ones((1, 5), np.float32), [0.1, 0.2])):
            with pytest.raises(BackendError, match=r"the step of tiny was fed (features|dt) as"):
                temporal.step([row], features, dt, [1])

        def broken(*_: object) -> None:
            raise fake_gpu.Error("cuStreamSynchronize failed: an illegal memory access was encountered")

        with monkeypatch.context() as patch:
            patch.setattr(fake_gpu.Stream, "synchronize", broken)
            with pytest.raises(BackendError, match="TensorRT cannot run the step of tiny: cuStreamSynchronize failed"):
                temporal.step([row], np.ones((1, 5), np.float32), [0.1], [1])
        assert temporal.pool.snapshot(row, age_steps=1, age_s=0.1) == before


def test_a_plan_is_built_once_and_kept(
    machine: fake_gpu.Machine, graphs: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "vidpipe.tensorrt"):
        for _ in range(2):
            (engine,) = open_engines(graphs.encoder(), "tensorrt", [OPTIONS]).engines
            engine.close()
    assert len(machine.builds) == 1
    assert machine.builds[0].batches == (1, 2, 4, 8)
    assert caplog.messages == ["building a plan of tiny.onnx for Fake GPU, once"]
    open_engines(graphs.encoder(), "tensorrt", [replace(OPTIONS, precision="f16")])
    assert [request.precision for request in machine.builds] == ["f32", "f16"]


@pytest.fixture
def kept(machine: fake_gpu.Machine, graphs: object) -> Path:
    """The plan of the tiny encoder in the cache."""
    open_engines(graphs.encoder(), "tensorrt", [OPTIONS])
    (path,) = trt_cache.plans_folder().glob("*.plan")
    return path


def test_a_changed_plan_never_reaches_tensorrt(
    machine: fake_gpu.Machine, kept: Path, graphs: object, caplog: pytest.LogCaptureFixture
) -> None:
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    open_engines(graphs.encoder(), "tensorrt", [OPTIONS])
    assert len(machine.builds) == 2
    assert "is not the one that was built (its SHA-256 differs)" in caplog.text


def test_a_damaged_record_means_a_new_build(machine: fake_gpu.Machine, kept: Path, graphs: object) -> None:
    kept.with_suffix(".json").write_text("{")
    open_engines(graphs.encoder(), "tensorrt", [OPTIONS])
    assert len(machine.builds) == 2
    assert json.loads(kept.with_suffix(".json").read_text())["key"]["gpu"] == fake_gpu.NAME


def test_a_plan_for_another_gpu_is_not_used_and_is_named(
    machine: fake_gpu.Machine,
    kept: Path,
    graphs: object,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fake_gpu, "NAME", "Other GPU")
    gpu.driver.cache_clear()
    open_engines(graphs.encoder(), "tensorrt", [OPTIONS])
    assert (
        "building a plan of tiny.onnx for Other GPU (the one found was built for Fake GPU with tensorrt" in caplog.text
    )
    assert "`vidpipe build` does this ahead" in caplog.text


def test_a_plan_that_does_not_load_says_what_to_do_and_is_forgotten(
    machine: fake_gpu.Machine, graphs: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_gpu, "fake_plan", lambda model, profiles: b"of another GPU\n")
    with pytest.raises(
        BackendError, match=r"does not load here \(The engine plan .* incompatible device\): run `vidpipe build`"
    ):
        open_engines(graphs.encoder(), "tensorrt", [OPTIONS])
    assert not list(trt_cache.plans_folder().glob("*.plan"))


def test_a_gpu_that_this_tensorrt_will_never_run_on_is_not_answered_with_another_build() -> None:
    key = trt_cache.PlanKey("0", "tiny.onnx", "tensorrt_rtx", "1.7", "NVIDIA H100", (9, 0), "f32", (1,))
    error = trt_cache.misfit(
        key, "TensorRT-RTX does not support this compute capability, so the engine cannot be rebuilt"
    )
    assert "install the full TensorRT (pip install 'vidpipe[tensorrt]'), or take another back end" in str(error)
    assert "vidpipe build" not in str(error)


def test_a_runtime_that_does_not_start_says_what_to_do(
    machine: fake_gpu.Machine, graphs: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(logger: object) -> None:
        logger.log(1, "CUDA driver version is insufficient for CUDA runtime version")  # type: ignore[attr-defined]
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(sys.modules["tensorrt"], "Runtime", nothing)
    with pytest.raises(BackendError, match=r"10\.99\.0 does not start on Fake GPU \(CUDA .*\): update the NVIDIA"):
        open_engines(graphs.encoder(), "tensorrt", [OPTIONS])


def test_memory_that_tensorrt_does_not_take_is_an_error(
    machine: fake_gpu.Machine, graphs: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_gpu.IExecutionContext, "set_tensor_address", lambda *_: False)
    (engine,) = open_engines(graphs.encoder(), "tensorrt", [OPTIONS]).engines
    with pytest.raises(BackendError, match=r"tiny\.onnx: TensorRT does not take the memory of frames"):
        engine.run({"frames": pictures(1)})


def test_pictures_go_up_while_the_batch_before_still_runs(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    """Each request has a stream, so the second one is through while nobody has waited for the first."""
    with Encoder.open(tiny, "tensorrt", max_batch=4) as encoder:
        for request in (0, 1):
            encoder.frames(request)[:4] = pictures(4, request)
        machine.copied.clear()
        for request in (0, 1):
            encoder.start(request, 4)  # queues, and waits for nothing
        assert machine.copied == []
        second = encoder.wait(1)
        assert machine.copied == [("up", pictures(4).nbytes)]
        encoder.wait(0)
        assert machine.copied == [("up", pictures(4).nbytes)] * 2
        np.testing.assert_allclose(np.asarray(second), expected(tiny, pictures(4, 1)), atol=1e-6)


def test_a_cache_that_cannot_be_written_costs_a_warning(
    machine: fake_gpu.Machine,
    graphs: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert open_engines(graphs.encoder(), "tensorrt", [OPTIONS]).engines[0].run({"frames": pictures(2)})[
        "features"
    ].shape == (2, 5)
    assert "cannot be kept" in caplog.text


def test_a_batch_beyond_the_plan_and_an_unknown_precision_are_refused(
    machine: fake_gpu.Machine, graphs: object
) -> None:
    (engine,) = open_engines(graphs.encoder(), "tensorrt", [OPTIONS]).engines
    with pytest.raises(BackendError, match="was fed a batch of 9, its plan holds up to 8"):
        engine.run({"frames": pictures(9)})
    with pytest.raises(BackendError, match="in f32 or f16, not in bf16"):
        open_engines(graphs.encoder(), "tensorrt", [replace(OPTIONS, precision="bf16")])


def test_a_kernel_that_fails_is_one_sentence(machine: fake_gpu.Machine, graphs: object) -> None:
    (engine,) = open_engines(graphs.encoder(), "tensorrt", [OPTIONS]).engines
    machine.failing = True
    with pytest.raises(BackendError, match=r"^TensorRT cannot run tiny\.onnx: see the log$"):
        engine.run({"frames": pictures(1)})


def test_memory_is_given_back(machine: fake_gpu.Machine, tiny: Bundle) -> None:
    with Encoder.open(tiny, "tensorrt", max_batch=4), Temporal.open(tiny, "tensorrt", capacity=2):
        assert machine.memory
    assert machine.active == 0
    gc.collect()
    assert not machine.memory


def test_without_a_gpu_it_is_refused_before_anything_is_imported(
    graphs: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        backends, "unusable", lambda backend: "there is no NVIDIA driver here" if backend.unusable else ""
    )
    with pytest.raises(BackendError, match="the back end tensorrt cannot run: there is no NVIDIA driver here"):
        open_engines(graphs.encoder(), "tensorrt", [OPTIONS])
    assert "not tensorrt: there is no NVIDIA driver here" in open_engines(graphs.encoder(), "auto", [OPTIONS]).why


def test_a_missing_pycuda_names_the_extra(
    machine: fake_gpu.Machine, graphs: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(MissingExtraError, match=r"needs the package pycuda.*pip install 'vidpipe\[tensorrt\]'"):
        open_engines(graphs.encoder(), "tensorrt", [OPTIONS])


def test_the_key_tells_apart_what_must_not_be_confused(machine: fake_gpu.Machine) -> None:
    here = Driver("13.0", (Gpu("H100", (9, 0), 1),))
    runtime = TensorRt(None, "tensorrt", "10.13")
    key = trt_plan.plan_key(runtime, b"model", OPTIONS, here)
    others = [
        trt_plan.plan_key(runtime, b"other", OPTIONS, here),
        trt_plan.plan_key(TensorRt(None, "tensorrt", "11.4"), b"model", OPTIONS, here),
        trt_plan.plan_key(TensorRt(None, "tensorrt_rtx", "10.13"), b"model", OPTIONS, here),
        trt_plan.plan_key(runtime, b"model", OPTIONS, Driver("13.0", (Gpu("A100", (8, 0), 1),))),
        trt_plan.plan_key(runtime, b"model", replace(OPTIONS, precision="f16"), here),
        trt_plan.plan_key(runtime, b"model", replace(OPTIONS, max_batch=9), here),
        trt_plan.plan_key(runtime, b"model", replace(OPTIONS, rows=64), here),
    ]
    assert len({each.digest for each in (key, *others)}) == 8
