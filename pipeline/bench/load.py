"""The pipeline under load: so many RTSP cameras for so many seconds, as a subscriber sees them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

import msgspec
import numpy as np

from engines.errors import StreamError
from pipeline.bench.live import LiveRun, fake_cameras, live_run
from pipeline.bench.usage import Cores, Memory, Meter, cores_between
from pipeline.bench.video import Video
from pipeline.stream.messages import Counts, Message, Prediction, Status
from pipeline.stream.subscriber import Subscriber

_CALM_S = 3.0
_CALM_LIMIT_S = 30.0
_HOPELESS, _HOPE_S = 0.05, 10.0  # so many drops after so long: it will not become calm
_SHORT = 1 / 3  # of the trial, where it has failed already
_BEAT_S = 1.2  # long enough to hear the heartbeat of every camera
_P99_LIMIT_MS = 200.0
_FULL_RATE = 0.98
# what a hiccup of a noisy machine may make of a trial that would hold
_NEAR_P99_MS, _NEAR_DROPS, _NEAR_RATE = 400.0, 0.01, 0.95

Heard = list[tuple[int, Message]]


class Delays(msgspec.Struct, frozen=True):
    """Milliseconds from the return of `grab()` to the publisher's stamp and to the subscriber, over `clips` messages.

    `stages_ms` are the medians of the stages that each message names, of the frame that completed its clip.
    """

    clips: int
    publish_p50_ms: float
    publish_p99_ms: float
    p50_ms: float
    p99_ms: float
    stages_ms: dict[str, float]


class Load(msgspec.Struct, frozen=True):
    """What so many cameras came to.

    `calm` is whether there were three seconds without a drop before the trial began, `delays` is None where no clip
    arrived, `full_rate` is frames grabbed over frames sent.
    """

    cameras: int
    rate_hz: float
    seconds: float
    came_up: int
    calm: bool
    delays: Delays | None
    full_rate: float
    due: int
    processed: int
    dropped: int
    cores: Cores
    memory: Memory
    held: bool

    @property
    def nearly(self) -> bool:
        """Too much, but so narrowly that a second try may say otherwise."""
        if self.held or self.delays is None or self.came_up < self.cameras:
            return False
        few = self.dropped <= _NEAR_DROPS * self.due
        return few and self.delays.p99_ms < _NEAR_P99_MS and self.full_rate >= _NEAR_RATE

    @property
    def camera_ms(self) -> float:
        """Milliseconds of CPU that vidpipe spent per camera and second."""
        return 1e3 * self.cores.pipeline / self.cameras


class Trial(msgspec.Struct, frozen=True):
    """What to load the pipeline with: so many cameras that show one video, sampled at `rate_hz`, for so long."""

    model: str
    backend: str
    precision: str
    cameras: int
    rate_hz: float
    seconds: float


def holds(delays: Delays | None, *, dropped: int, full_rate: float) -> bool:
    """All frames of all cameras in time: no drop, p99 under 200 ms, and the sources not held up either."""
    return delays is not None and delays.p99_ms < _P99_LIMIT_MS and not dropped and full_rate >= _FULL_RATE


def measure_load(video: Video, trial: Trial) -> Load:
    """Serve `video` as the trial's cameras, run the pipeline on them, and listen once all are up and calm.

    Raises:
        StreamError: the pipeline did not start.
    """
    with (
        fake_cameras(video.path, "--cameras", trial.cameras) as cameras,
        _pipeline_on(cameras, trial) as run,
        Subscriber(run.address, kinds=["clip", "status"]) as subscriber,
    ):
        came_up = _wait_for_all(subscriber, run, trial.cameras)
        calm = _wait_for_calm(subscriber)
        meter = Meter(run.process, cameras.process)
        before = _last_statuses(_listen(subscriber, _BEAT_S))
        first = meter.read()
        heard = _listen(subscriber, trial.seconds if calm else _SHORT * trial.seconds)
        cores = cores_between(first, meter.read())
        return _sum_up(trial, heard, before, cores, facts=(came_up, calm, meter.memory(), video.fps))


def _pipeline_on(cameras: Sequence[str], trial: Trial) -> AbstractContextManager[LiveRun]:
    return live_run(cameras, model=trial.model, backend=trial.backend, precision=trial.precision, rate_hz=trial.rate_hz)


def _wait_for_all(subscriber: Subscriber, run: LiveRun, cameras: int) -> int:
    """Cameras of which a clip has arrived, within a limit that grows with their number."""
    seen: set[str] = set()
    deadline_s = time.monotonic() + 60.0 + cameras
    while len(seen) < cameras and time.monotonic() < deadline_s:
        message = subscriber.receive(1.0)
        if isinstance(message, Prediction):
            seen.add(message.camera)
        elif not seen and not run.alive():
            raise StreamError("the pipeline did not start: see the line above")
    return len(seen)


def _wait_for_calm(subscriber: Subscriber) -> bool:
    """Three seconds without a drop: starting so many processes at once is a load of its own."""
    started_s = calm_since_s = time.monotonic()
    before: dict[str, Status] = {}
    while (now_s := time.monotonic()) < started_s + _CALM_LIMIT_S:
        if now_s - calm_since_s >= _CALM_S:
            return True
        last = _last_statuses(_listen(subscriber, _BEAT_S))
        share = drop_share(before, last)
        if share > 0:
            calm_since_s = time.monotonic()
        if share > _HOPELESS and now_s - started_s > _HOPE_S:
            return False
        before |= last
    return False


def drop_share(before: dict[str, Status], last: dict[str, Status]) -> float:
    """Frames dropped over frames due between two heartbeats of each camera."""
    pairs = [(before[camera].counts, status.counts) for camera, status in last.items() if camera in before]
    due = sum(new.due - old.due for old, new in pairs)
    return sum(_dropped(new) - _dropped(old) for old, new in pairs) / max(due, 1)


def _listen(subscriber: Subscriber, seconds: float) -> Heard:
    """All messages of so many seconds, with their times of arrival in nanoseconds."""
    heard = []
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        message = subscriber.receive(left_s)
        if message is not None:
            heard.append((time.time_ns(), message))
    return heard


def _last_statuses(heard: Heard) -> dict[str, Status]:
    return {message.camera: message for _, message in heard if isinstance(message, Status)}


def _dropped(counts: Counts) -> int:
    return counts.thinned + counts.overrun


def _sum_up(
    trial: Trial, heard: Heard, before: dict[str, Status], cores: Cores, facts: tuple[int, bool, Memory, float]
) -> Load:
    came_up, calm, memory, source_hz = facts
    pairs = [(before[c], last) for c, last in _last_statuses(heard).items() if c in before]
    delays = delays_of(heard)
    dropped = sum(_dropped(last.counts) - _dropped(first.counts) for first, last in pairs)
    full_rate = sum(_grabbed_per_s(first, last) for first, last in pairs) / (source_hz * trial.cameras)
    return Load(
        cameras=trial.cameras,
        rate_hz=trial.rate_hz,
        seconds=trial.seconds if calm else _SHORT * trial.seconds,
        came_up=came_up,
        calm=calm,
        delays=delays,
        full_rate=full_rate,
        due=sum(last.counts.due - first.counts.due for first, last in pairs),
        processed=sum(last.counts.processed - first.counts.processed for first, last in pairs),
        dropped=dropped,
        cores=cores,
        memory=memory,
        held=calm and came_up == trial.cameras and holds(delays, dropped=dropped, full_rate=full_rate),
    )


def _grabbed_per_s(first: Status, last: Status) -> float:
    seconds = (last.published_at - first.published_at) / 1e9
    return (last.counts.grabbed - first.counts.grabbed) / seconds if seconds > 0 else 0.0


def delays_of(heard: Heard) -> Delays | None:
    """How late the clips were."""
    clips = [(arrived_ns, clip) for arrived_ns, clip in heard if isinstance(clip, Prediction)]
    if not clips:
        return None
    published_ms = [(clip.published_at - clip.captured_at) / 1e6 for _, clip in clips]
    arrived_ms = [(arrived_ns - clip.captured_at) / 1e6 for arrived_ns, clip in clips]
    stages = {name: float(np.median([c.latency[name] for _, c in clips])) / 1e3 for name in clips[0][1].latency}
    (publish_p50, publish_p99), (p50, p99) = (np.percentile(ms, [50, 99]).tolist() for ms in (published_ms, arrived_ms))
    return Delays(len(clips), publish_p50, publish_p99, p50, p99, stages)
