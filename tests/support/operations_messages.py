"""Messages as a running pipeline publishes them, for what watches it."""

from __future__ import annotations

from pipeline.stream.messages import ClipSpan, Counts, Event, ModelInfo, Prediction, StateInfo, Status

MODEL = ModelInfo("scene", "1.0.0", "ab" * 32, "openvino", "f32")
LATENCY_US = {"capture": 150, "queue": 1_000, "encode": 4_000, "step": 850, "total": 6_000}


def status(camera: str, state: str = "running", **fields: object) -> Status:
    """A heartbeat."""
    return Status(**{"camera": camera, "epoch": 7, "seq": 1, "state": state, **fields})


def prediction(camera: str, **fields: object) -> Prediction:
    """A clip."""
    own = {"clip": ClipSpan(0, 0.0, 2.0, 10), "model": MODEL, "state": StateInfo(10, 2.0, True, "start")}
    said = {"label": "idle", "scores": {"idle": 0.9, "passing": 0.1}, "latency": LATENCY_US}
    return Prediction(**{"camera": camera, "epoch": 7, "seq": 1, **own, **said, **fields})


def event(camera: str, **fields: object) -> Event:
    """The begin of an event."""
    said = {"id": "s-1", "type": "begin", "label": "loitering", "start": 1.0, "end": 2.0, "peak": 0.9}
    return Event(**{"camera": camera, "epoch": 7, "seq": 1, **said, **fields})


def full_load(cameras: int) -> list[Status | Prediction]:
    """What so many cameras say in one second: a heartbeat and a clip each."""
    counts = Counts(grabbed=900_000, due=300_000, processed=299_990, thinned=6, overrun=2, in_flight=2, connections=3)
    reasons = {"resets": {"start": 1, "gap": 2}, "reconnects": {"lost": 2}, "last_seq": {"clip": 60_000, "event": 400}}
    names = [f"camera{number}" for number in range(cameras)]
    heartbeats = [status(name, counts=counts, frame_age_s=0.1, **reasons) for name in names]
    return [*heartbeats, *(prediction(name) for name in names)]
