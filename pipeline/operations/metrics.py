"""The metrics page: what the published messages and the process's own gauges say, as Prometheus reads it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.capture.state import CameraState
from pipeline.stream.messages import Message, ModelInfo, Prediction, Status

_LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_STAGE_BUCKETS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_TOTAL = "total"


@dataclass(frozen=True)
class Gauges:
    """What only the process knows; None where there is no such thing.

    `alarms` has a sentence for each part that could be in trouble (such as `journal`), empty while all is well there.
    """

    subscribers: int | None = None
    auth_failures: int | None = None
    checkpoint_age_s: float | None = None
    journal_backlog: int | None = None
    alarms: Mapping[str, str] = field(default_factory=dict)
    connections_ended: int | None = None


@dataclass(frozen=True)
class _Seen:
    """A camera's newest status, and when it was published, by a monotonic clock."""

    status: Status
    at_s: float


class Metrics:
    """Remembers the newest status of each camera, and counts latencies. `observe` takes microseconds.

    All figures of a camera come from one status, so that its frames add up on every page:
    `vidpipe_frames_due_total == sum(vidpipe_frames_total) + vidpipe_frames_in_flight`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.gauges = Gauges()
        self._clock = clock
        self._beat_s: float | None = None
        self._seen: dict[str, _Seen] = {}
        self._models: dict[str, ModelInfo] = {}
        self._registry = CollectorRegistry()
        self._latency = Histogram(
            "vidpipe_capture_to_publish_seconds",
            "From grab to prediction, of the frame that completed each clip.",
            buckets=_LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        stages = Histogram(
            "vidpipe_stage_duration_seconds",
            "What each stage took of the frame that completed each clip.",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=self._registry,
        )
        self._stages = {name: stages.labels(name) for name in ("capture", "queue", "encode", "step")}
        reloads = Counter("vidpipe_reloads", "Reloads of the configuration.", ["result"], registry=self._registry)
        self._reloads = {result: reloads.labels(result) for result in ("ok", "refused")}
        self._registry.register(_Streams(self))
        ProcessCollector(registry=self._registry)

    def observe(self, message: Message) -> None:
        """Take one published message."""
        if isinstance(message, Status):
            self._seen[message.camera] = _Seen(message, self._clock())
        elif isinstance(message, Prediction):
            self._models[message.camera] = message.model
            for stage, took_us in message.latency.items():
                if stage == _TOTAL:
                    self._latency.observe(took_us / 1e6)
                elif stage in self._stages:
                    self._stages[stage].observe(took_us / 1e6)

    def beat(self, gauges: Gauges) -> None:
        """The loop went round."""
        self.gauges, self._beat_s = gauges, self._clock()

    def reloaded(self, *, ok: bool) -> None:
        """A new configuration was taken over, or refused."""
        self._reloads["ok" if ok else "refused"].inc()

    def forget(self, camera: str) -> None:
        """The camera is no longer run."""
        self._seen.pop(camera, None)
        self._models.pop(camera, None)

    def page(self) -> bytes:
        """The page in Prometheus' text format; from any thread."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Everything but the histograms, as it is now."""
        now_s = self._clock()
        seen = list(self._seen.values())
        yield from _frames(seen)
        yield from _interruptions(seen)
        yield from _states(seen, now_s)
        yield _gauge("model_info", "The model of a stream.", (_model(*item) for item in list(self._models.items())))
        yield from _process(self.gauges)
        age_s = None if self._beat_s is None else now_s - self._beat_s
        yield _gauge("loop_age_seconds", "Since the inference loop last went round.", _known(age_s))
        build = {"version": version("vidpipe"), "python": platform.python_version()}
        yield _gauge("build_info", "Which vidpipe this is.", [(build, 1)])


class _Streams(Collector):
    """What `Metrics.collect` says, for the registry."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """All families."""
        return self._metrics.collect()


Sample = tuple[Mapping[str, str], float]


def _frames(seen: list[_Seen]) -> Iterator[Metric]:
    counts = [({"stream": each.status.camera}, each.status.counts) for each in seen]
    yield _counter("frames_grabbed", "Frames that the source gave.", ((at, c.grabbed) for at, c in counts))
    yield _counter("frames_due", "Frames that the model's rate calls for.", ((at, c.due) for at, c in counts))
    yield _counter(
        "frames",
        "What became of due frames; what is left of them is in flight.",
        (
            ({**at, "result": result}, value)
            for at, c in counts
            for result, value in (
                ("processed", c.processed),
                ("dropped_overload", c.thinned),
                ("dropped_overrun", c.overrun),
            )
        ),
    )
    yield _gauge(
        "frames_in_flight", "Due frames that wait or are being processed.", ((a, c.in_flight) for a, c in counts)
    )
    yield _counter("decode_errors", "Errors that the decoder reported.", ((at, c.damaged) for at, c in counts))
    yield _counter("connections", "Times that the source was opened.", ((at, c.connections) for at, c in counts))
    yield _counter(
        "messages",
        "Predictions and events published.",
        (({"stream": e.status.camera, "kind": k}, n) for e in seen for k, n in e.status.last_seq.items()),
    )


def _interruptions(seen: list[_Seen]) -> Iterator[Metric]:
    yield _counter("reconnects", "Connections that ended, by reason.", _by_reason(seen, lambda s: s.reconnects))
    yield _counter("state_resets", "Resets of the memory, by reason.", _by_reason(seen, lambda s: s.resets))


def _by_reason(seen: list[_Seen], counts: Callable[[Status], Mapping[str, int]]) -> Iterator[Sample]:
    for each in seen:
        for reason, number in counts(each.status).items():
            yield {"stream": each.status.camera, "reason": reason}, number


def _states(seen: list[_Seen], now_s: float) -> Iterator[Metric]:
    known = [state.value for state in CameraState]
    yield _gauge(
        "stream_state",
        "1 for the state that the stream is in.",
        (
            ({"stream": each.status.camera, "state": state}, float(state == each.status.state))
            for each in seen
            for state in dict.fromkeys((*known, each.status.state))
        ),
    )
    yield _gauge(
        "last_frame_age_seconds",
        "Age of the stream's newest frame.",
        (
            ({"stream": each.status.camera}, each.status.frame_age_s + now_s - each.at_s)
            for each in seen
            if each.status.frame_age_s >= 0
        ),
    )


def _model(camera: str, model: ModelInfo) -> Sample:
    labels = {"model": model.name, "version": model.version, "backend": model.backend, "precision": model.precision}
    return {"stream": camera, **labels}, 1


def _process(gauges: Gauges) -> Iterator[Metric]:
    yield _gauge("subscribers", "Subscriptions to the prediction stream.", _known(gauges.subscribers))
    yield _counter("auth_failures", "Clients that were refused.", _known(gauges.auth_failures))
    ended = _known(gauges.connections_ended)
    yield _counter("connections_ended", "Connections that had to leave: too many of them, or asking too much.", ended)
    yield _gauge("checkpoint_age_seconds", "Age of the newest checkpoint on disk.", _known(gauges.checkpoint_age_s))
    yield _gauge("journal_backlog", "Messages that the journal has not written yet.", _known(gauges.journal_backlog))
    alarms = (({"part": part}, float(bool(text))) for part, text in gauges.alarms.items())
    yield _gauge("alarm", "1 where this part of vidpipe is in trouble.", alarms)


def _known(value: float | None) -> list[Sample]:
    return [] if value is None else [({}, value)]


def _counter(name: str, text: str, samples: Iterable[Sample]) -> Metric:
    return _filled(CounterMetricFamily(f"vidpipe_{name}", text), "_total", samples)


def _gauge(name: str, text: str, samples: Iterable[Sample]) -> Metric:
    return _filled(GaugeMetricFamily(f"vidpipe_{name}", text), "", samples)


def _filled(family: Metric, suffix: str, samples: Iterable[Sample]) -> Metric:
    for labels, value in samples:
        family.add_sample(family.name + suffix, dict(labels), value)
    return family
