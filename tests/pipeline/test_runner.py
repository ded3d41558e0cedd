"""The runner of one model: asked to finish, it ends what is in flight and leaves what still waits."""

from itertools import count
from types import SimpleNamespace

import numpy as np

from pipeline.capture.ring import FrameFlag, FrameHeader, RollingBuffer
from pipeline.inference.runner import ModelRunner
from pipeline.inference.session import StepInput


class EndlessCamera:
    """A camera whose ring is never empty, as in an overloaded pipeline."""

    def __init__(self) -> None:
        self.plan = SimpleNamespace(name="cam0", source=SimpleNamespace(live=True))
        self.ring = RollingBuffer.create(2, 4, 4)
        self.ring.commit(FrameHeader(0, 0, 0, 0, 0, 0, FrameFlag(0)))

    def free_slot(self) -> None:
        self.ring.commit(FrameHeader(0, 0, 0, 0, 0, 0, FrameFlag(0)))


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


def test_an_overloaded_runner_finishes():
    answers = SimpleNamespace(prob=np.ones((1, 1)), ok=np.ones(1, bool))
    temporal = SimpleNamespace(pool=SimpleNamespace(acquire=lambda _: 0), step=lambda *_: answers)
    memory = SimpleNamespace(advance=lambda _: (StepInput(0.1, True), []), observe=lambda *_, **__: iter(()))
    camera = EndlessCamera()
    runner = ModelRunner(InstantEncoder(), temporal, [camera], {"cam0": memory}, lambda: None)
    runner.add([camera] * 200)
    runner.submit()
    in_flight = runner.in_flight
    assert in_flight
    assert list(runner.finish()) == []
    assert runner.in_flight == 0
    assert runner.processed == {"cam0": in_flight}
    runner.submit()
    assert runner.in_flight == 0
