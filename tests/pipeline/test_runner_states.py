"""The runner and the memories: each frame's time and reset reach the step, and a camera's state goes where it goes."""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from memories import MANIFEST, SHA, new_memory

from engines.errors import ModelError
from engines.state_pool import StatePool
from engines.temporal import StepResult
from pipeline.capture.ring import FrameFlag, FrameHeader, RollingBuffer
from pipeline.inference.continuity import Cause
from pipeline.inference.loop import InferenceLoop
from pipeline.inference.runner import ModelRunner
from pipeline.stream.messages import Event

SECOND_NS = 1_000_000_000


class Camera:
    """A camera whose frames are put by hand: picture and media time in seconds."""

    def __init__(self, name: str) -> None:
        self.plan = SimpleNamespace(name=name, source=SimpleNamespace(live=True))
        self.ring = RollingBuffer.create(8, 2, 2)
        self.over, self.state, self.detail = False, None, ""

    def put(self, picture: int, media_s: float, flags: FrameFlag = FrameFlag(0)) -> None:
        self.ring.slot()[:] = picture
        if self.ring.repeats():
            flags |= FrameFlag.REPEATS
        self.ring.commit(FrameHeader(0, round(media_s * SECOND_NS), 0, 0, 0, 0, flags))

    def free_slot(self) -> None: ...


class Encoder:
    """Features are the picture's first number; what has run to its end is told by hand."""

    max_batch, lends_features = 4, False

    def __init__(self, requests: int = 1) -> None:
        self.requests = requests
        self.counts: list[int] = []
        self.waited: list[int] = []
        self._frames = np.zeros((requests, 4, 2, 2, 3), np.uint8)
        self._running: dict[int, int] = {}

    def fit(self, count: int) -> int:
        return min(count, 4)

    def listen(self, finished) -> bool:
        self.finished = finished
        return True

    def frames(self, request: int) -> np.ndarray:
        return self._frames[request]

    def start(self, request: int, count: int) -> None:
        self.counts.append(count)
        self._running[request] = count

    def wait(self, request: int) -> np.ndarray:
        self.waited.append(request)
        return np.repeat(self._frames[request, : self._running.pop(request), 0, 0, :1].astype(np.float32), 4, axis=1)


class Temporal:
    """The state of a row counts its steps since the last one without `keep`; features of 255 go non-finite."""

    def __init__(self, capacity: int = 2) -> None:
        self.pool = StatePool(MANIFEST, SHA, capacity)
        self.steps: list[tuple[float, float, float]] = []  # feature, dt and keep of each row in turn

    def step(self, rows: Sequence[int], features: np.ndarray, dt: Sequence[float], keep: Sequence[float]) -> StepResult:
        rows = np.array(rows)
        self.steps += zip(features[:, 0].tolist(), [round(each, 6) for each in dt], keep, strict=True)
        state = self.pool.gather(rows)["h"] * np.array(keep, np.float32)[:, None] + 1
        self.pool.scatter(rows, {"next_h": state})
        prob = np.tile(np.array([0.1, 0.9], np.float32), (len(rows), 1))
        return StepResult(prob, prob, features[:, 0] < 255)


class Bench:
    """A runner with cameras that are there from the start."""

    def __init__(self, *names: str, requests: int = 1, temporal: Temporal | None = None, **policy) -> None:
        self.cameras = {name: Camera(name) for name in names}
        self.memories = {name: new_memory(name, **policy) for name in names}
        self.encoder, self.temporal = Encoder(requests), temporal or Temporal()
        cameras = list(self.cameras.values())
        self.runner = ModelRunner(self.encoder, self.temporal, cameras, self.memories, lambda: None, most=4)

    def run(self) -> list:
        self.runner.look()
        self.runner.submit()
        return list(self.runner.drain())

    def steps_since_reset(self, name: str) -> float:
        (snapshot,) = self.runner.snapshots({name: (0, 0.0)})
        return float(np.frombuffer(snapshot.tensors["h"].data, "<f4")[0])


def test_each_frames_time_and_reset_reach_the_step():
    bench = Bench("camera0")
    for picture, media_s in enumerate([10.0, 10.2, 10.6, 20.0, 20.2]):
        bench.cameras["camera0"].put(picture, media_s)
        bench.run()
    assert bench.temporal.steps == [(0, 0.2, 0), (1, 0.2, 1), (2, 0.4, 1), (3, 0.2, 0), (4, 0.2, 1)]
    assert bench.steps_since_reset("camera0") == 2


def test_each_camera_of_a_batch_has_its_own_time():
    bench = Bench("camera0", "camera1")
    for media_s in ((0.0, 7.0), (0.2, 7.6), (9.0, 7.8)):
        for camera, at_s in zip(bench.cameras.values(), media_s, strict=True):
            camera.put(int(10 * at_s), at_s)
        bench.run()
    assert bench.encoder.counts == [2, 2, 2]
    assert bench.temporal.steps[2:] == [(2, 0.2, 1), (76, 0.6, 1), (90, 0.2, 0), (78, 0.2, 1)]
    assert (bench.steps_since_reset("camera0"), bench.steps_since_reset("camera1")) == (1, 3)


def test_a_row_that_went_non_finite_starts_afresh_with_the_next_frame_and_no_other_does():
    bench = Bench("camera0", "camera1")
    for number, pictures in enumerate([(1, 1), (255, 2), (3, 3), (4, 4)]):
        for camera, picture in zip(bench.cameras.values(), pictures, strict=True):
            camera.put(picture, number / 5)
        bench.run()
    keeps = [keep for _, _, keep in bench.temporal.steps]
    assert keeps == [0, 0, 1, 1, 0, 1, 1, 1]
    assert dict(bench.memories["camera0"].reset_causes) == {"non_finite": 1}
    assert dict(bench.memories["camera1"].reset_causes) == {}


def test_a_repeated_picture_takes_the_features_of_the_one_before():
    bench = Bench("camera0")
    camera = bench.cameras["camera0"]
    for number, picture in enumerate((7, 7, 7, 8)):
        camera.put(picture, number / 5)
        bench.run()
    assert bench.encoder.counts == [1, 1]
    assert [feature for feature, _, _ in bench.temporal.steps] == [7, 7, 7, 8]


def test_a_camera_that_moves_takes_its_state_and_its_count_and_has_its_next_picture_encoded():
    first, pool = Bench("camera0"), Temporal(1)
    camera = first.cameras["camera0"]
    for number in range(3):
        camera.put(7, number / 5)
        first.run()
    second = Bench(temporal=pool)
    second.memories |= first.memories
    assert first.steps_since_reset("camera0") == 3
    second.runner.enlist(camera, first.runner.dismiss("camera0"), processed=3)
    camera.put(7, 0.6)  # repeats a picture whose features only the other runner had
    second.run()
    assert second.temporal.steps == [(7, 0.2, 1)]
    assert (second.steps_since_reset("camera0"), second.runner.processed) == (4, {"camera0": 4})
    # and back to the first, which knew it once
    first.runner.enlist(camera, second.runner.dismiss("camera0"), processed=4)
    camera.put(9, 0.8)
    first.run()
    camera.put(9, 1.0)
    first.run()
    assert [feature for feature, _, _ in first.temporal.steps] == [7, 7, 7, 9, 9]
    assert first.steps_since_reset("camera0") == 6


def test_a_camera_that_comes_back_to_a_runner_is_not_given_the_features_of_then():
    bench = Bench("camera0")
    camera = bench.cameras["camera0"]
    camera.put(7, 0.0)
    bench.run()
    snapshot = bench.runner.dismiss("camera0")
    camera.put(8, 0.2)
    camera.ring.skip()  # another runner saw it
    bench.runner.enlist(camera, snapshot)
    camera.put(8, 0.4)
    bench.run()
    assert [feature for feature, _, _ in bench.temporal.steps] == [7, 8]


def test_a_snapshot_of_another_model_leaves_the_camera_out_and_its_row_free():
    bench, other = Bench("camera0", temporal=Temporal(1)), StatePool(MANIFEST, "cd" * 32, 1)
    foreign = other.snapshot(other.acquire("x"), age_steps=0, age_s=0.0)
    bench.runner.dismiss("camera0")
    with pytest.raises(ModelError):
        bench.runner.enlist(bench.cameras["camera0"], foreign)
    assert bench.runner.processed == {}
    bench.runner.enlist(bench.cameras["camera0"])
    assert bench.steps_since_reset("camera0") == 0


def two_batches_in_flight() -> Bench:
    bench = Bench("camera0", requests=2)
    for number in range(2):
        bench.cameras["camera0"].put(number, number / 5)
    bench.runner.look()
    bench.runner.submit()
    return bench


def test_waiting_for_a_batch_waits_for_the_oldest_only():
    bench = two_batches_in_flight()
    assert bench.runner.in_flight == 2
    assert list(bench.runner.collect()) == []
    assert bench.encoder.waited == [], "nothing is encoded yet"
    assert list(bench.runner.collect(wait=True)) == []
    assert (bench.encoder.waited, bench.runner.in_flight) == ([0], 1)
    bench.encoder.finished(1)
    assert list(bench.runner.collect()) == []
    assert (bench.encoder.waited, bench.runner.in_flight) == ([0, 1], 0)


def test_batches_step_in_the_order_in_which_they_were_started():
    bench = two_batches_in_flight()
    bench.encoder.finished(1)
    assert list(bench.runner.collect()) == []
    assert (bench.encoder.waited, bench.temporal.steps) == ([1], [])
    bench.encoder.finished(0)
    assert list(bench.runner.collect()) == []
    assert [feature for feature, _, _ in bench.temporal.steps] == [0, 1]


# -- in the loop -----------------------------------------------------------------------------------------------------


class Said:
    """A publisher that keeps what it is given, and a fleet that has no news."""

    def __init__(self) -> None:
        self.messages: list = []
        self.arrived, self.over = (), False

    def publish(self, message):
        self.messages.append(message)
        return message

    def wait(self, _limit_s: float) -> bool:
        return True


@pytest.fixture
def stage(monkeypatch):
    """A loop with one camera that has an open event, and what it says; statuses are left out."""
    monkeypatch.setattr(InferenceLoop, "_status", lambda *_: None)
    bench, said = Bench("camera0"), Said()
    loop = InferenceLoop(said, said, lambda _: None)
    camera = bench.cameras["camera0"]
    loop.add(camera, bench.runner, bench.memories["camera0"])
    for number in range(12):
        camera.put(number, number / 5)
        said.messages += bench.run()
    assert [m.type for m in said.messages if isinstance(m, Event)] == ["begin"]
    said.messages.clear()
    return bench, loop, said


def ends(said: Said) -> list[str]:
    return [m.reason for m in said.messages if isinstance(m, Event) and m.type == "end"]


def test_a_camera_that_is_removed_or_ended_or_said_goodbye_to_ends_its_events_once(stage):
    _, loop, said = stage
    loop.end("camera0", Cause.MODEL_CHANGE)
    assert ends(said) == ["model_change"]
    loop.remove("camera0", loop.last_status("camera0"))
    assert ends(said) == ["model_change"]


@pytest.mark.parametrize("how", ["remove", "farewell"])
def test_open_events_end_with_the_camera(how, stage):
    _, loop, said = stage
    loop.remove("camera0", loop.last_status("camera0")) if how == "remove" else loop.farewell()
    assert ends(said) == ["stop"]


def test_the_events_of_a_camera_that_is_over_end_after_its_last_frame_in_flight(stage):
    bench, loop, said = stage
    camera = bench.cameras["camera0"]
    camera.put(99, 12 / 5)
    bench.runner.look()
    bench.runner.submit()
    camera.over = True
    turns = iter([False, False])
    in_flight: list[tuple[int, list[str]]] = []

    def stop() -> bool:
        in_flight.append((bench.runner.in_flight, ends(said)))
        if len(in_flight) == 2:
            bench.encoder.finished(0)
        return next(turns, True)

    loop.run(stop)
    assert in_flight == [(1, []), (1, []), (0, ["stop"])]
