"""The runner of one model: asked to finish, it ends what is in flight and leaves what still waits."""

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace

import numpy as np

from pipeline.capture.ring import FrameFlag, FrameHeader, RollingBuffer
from pipeline.inference.runner import ModelRunner
from pipeline.inference.session import StepInput


class EndlessCamera:
    """A camera whose ring is never empty, as in an overloaded pipeline."""

    def __init__(self, later: FrameFlag) -> None:
        self.plan = SimpleNamespace(name="cam0", source=SimpleNamespace(live=True))
        self.ring = RollingBuffer.create(4, 4, 4)
        self._later = later
        for flags in (FrameFlag(0), later, later):
            self.ring.commit(FrameHeader(0, 0, 0, 0, 0, 0, flags))

    def free_slot(self) -> None:
        self.ring.commit(FrameHeader(0, 0, 0, 0, 0, 0, self._later))


class InstantEncoder:
    requests, max_batch, lends_features = 2, 1, False

    def __init__(self) -> None:
        self.started = count()
        self._frames = np.zeros((1, 4, 4, 3), np.uint8)

    def fit(self, _waiting, _requests=1):
        return 1

    def listen(self, _finished) -> bool:
        return False

    def frames(self, _request):
        return self._frames

    def start(self, _request, _count) -> None:
        assert next(self.started) < 100, "it starts new batches for ever"

    def done(self, _request) -> bool:
        return True

    def wait(self, _request):
        return np.zeros((1, 3), np.float32)


def endless(
    encoder: InstantEncoder, later: FrameFlag = FrameFlag(0), wake: Callable[[], None] = lambda: None
) -> tuple[ModelRunner, EndlessCamera]:
    answers = SimpleNamespace(prob=np.ones((1, 1)), ok=np.ones(1, bool))
    temporal = SimpleNamespace(pool=SimpleNamespace(acquire=lambda _: 0), step=lambda *_: answers)
    memory = SimpleNamespace(advance=lambda _: (StepInput(0.1, True), []), observe=lambda *_, **__: iter(()))
    camera = EndlessCamera(later)
    return ModelRunner(encoder, temporal, [camera], {"cam0": memory}, wake), camera


def test_an_overloaded_runner_finishes():
    runner, camera = endless(InstantEncoder())
    runner.add([camera] * 200)
    runner.submit()
    in_flight = runner.in_flight
    assert in_flight
    assert list(runner.finish()) == []
    assert runner.in_flight == 0
    assert runner.processed == {"cam0": in_flight}
    runner.submit()
    assert runner.in_flight == 0


def test_a_back_end_that_lends_its_features_is_given_the_next_batch_at_once():
    class Lending(InstantEncoder):
        lends_features = True

    runner, camera = endless(Lending())
    runner.add([camera])
    runner.submit()
    for _ in range(5):
        assert list(runner.collect(wait=True)) == []
        assert runner.in_flight, "frames wait and requests are free: nobody would wake the loop"


def test_batches_that_need_no_encoder_wake_the_loop():
    woken = []
    runner, camera = endless(InstantEncoder(), FrameFlag.REPEATS, wake=lambda: woken.append(True))
    runner.add([camera])
    runner.submit()
    woken.clear()
    assert list(runner.collect(wait=True)) == []
    assert runner.in_flight, "started after the last step, and nothing in the encoder"
    assert woken


def test_frames_that_only_repeat_do_not_keep_the_runner_from_stepping():
    runner, camera = endless(InstantEncoder(), FrameFlag.REPEATS)
    runner.add([camera])
    runner.submit()
    assert runner.in_flight <= 8
    assert list(runner.finish()) == []
    assert 1 < runner.processed["cam0"] <= 8


def test_a_frame_that_is_gone_again_ends_nothing():
    runner, camera = endless(InstantEncoder())
    runner.add([camera])
    ready = runner._batcher.next

    def emptied(free):
        cameras = ready(free)
        while camera.ring.backlog:
            camera.ring.skip()
        runner._batcher.next = lambda _: []
        return cameras

    runner._batcher.next = emptied
    runner.submit()
    assert runner.in_flight == 0
    assert runner.processed == {"cam0": 0}
