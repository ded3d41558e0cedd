"""How good a model is at the subscriber: labelled clips joined into one long stream, over H.264 and RTSP, in real time.

    python tools/evaluate_replay.py fight --data fight/manifest.csv --split val
    python tools/evaluate_replay.py fight --data fight/manifest.csv --split val --json replay.json

The videos are shuffled, written as one H.264 file, and served by `vidpipe fakecam` as one RTSP camera; `vidpipe run`
reads it with the model's memory carried over every cut, and this tool judges the prediction stream that it hears.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.bundle import load_bundle
from engines.clips import Clip
from engines.datasets.labelled import LabelledVideo
from engines.datasets.reading import load_dataset
from engines.datasets.splits import select
from engines.evaluation.alarms import AlarmStream, StreamTruth
from engines.evaluation.occurrences import Alarm, Run
from engines.evaluation.resampling import Figure, Resampling
from engines.manifest import Manifest
from engines.shrink import shrunk
from pipeline.bench.live import fake_cameras, live_run
from pipeline.stream.messages import Event, Prediction
from pipeline.stream.subscriber import Subscriber

_JOIN_S = 20.0
_CODED_FPS = 25


@dataclass(frozen=True)
class Shown:
    """One video of the stream: when it starts and ends in it."""

    video: LabelledVideo
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Heard:
    """What the subscriber was told: clips, events, and how often the model's memory was set back."""

    clips: list[Clip]
    alarms: list[Alarm]
    sessions: int
    oldest_state_s: float
    missed: int


def main() -> None:
    """Join, serve, listen, judge."""
    arguments = _arguments()
    manifest = load_bundle(arguments.model).manifest
    dataset = load_dataset(arguments.data, labels=manifest.labels)
    videos = list(select(dataset, arguments.split) if arguments.split else dataset.videos)
    videos = [videos[index] for index in np.random.default_rng(arguments.seed).permutation(len(videos))]
    height, width = (int(side) for side in reversed(arguments.size.split("x")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "joined.mp4"
        shown = _join(videos, path, (height, width), arguments.kbit)
        print(f"{len(shown)} videos, {shown[-1].end_s:.1f} s in all, {arguments.size} at {_CODED_FPS} frames/s")
        heard = _listen(path, shown[-1].end_s, arguments.model, manifest)
    figures = _judge(shown, heard, manifest)
    for name, figure in figures.items():
        print(f"  {name:32} {_text(figure)}")
    facts = f"sessions {heard.sessions}, oldest state {heard.oldest_state_s:.1f} s, messages lost {heard.missed}"
    print(f"  {len(heard.clips)} clips, {len(heard.alarms)} events heard, {facts}")
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.encode({"figures": figures, "sessions": heard.sessions}))


def _join(videos: Sequence[LabelledVideo], path: Path, size: tuple[int, int], kbit: int) -> list[Shown]:
    """Write one H.264 file as a camera would code it; each picture is shown when it was in its own video."""
    shown, written = [], 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_CODED_FPS, options={"preset": "veryfast", "tune": "zerolatency"})
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", kbit * 1000
        stream.codec_context.gop_size = 2 * _CODED_FPS
        for video in videos:
            start = written
            for picture in _paced(video.path):
                frame = av.VideoFrame.from_ndarray(shrunk(picture, size), format="bgr24")
                frame.pts, frame.time_base = written, Fraction(1, _CODED_FPS)
                container.mux(stream.encode(frame))
                written += 1
            shown.append(Shown(video, start / _CODED_FPS, written / _CODED_FPS))
        container.mux(stream.encode(None))
    return shown


def _paced(path: Path) -> Iterator[NDArray[np.uint8]]:
    """All pictures of a file at the coded rate: repeated or left out where its own rate is another."""
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS) or _CODED_FPS
    given = read = 0
    while True:
        ok, picture = capture.read()
        if not ok:
            break
        read += 1
        while given < round(read / rate * _CODED_FPS):
            given += 1
            yield np.asarray(picture, np.uint8)
    capture.release()


def _listen(path: Path, seconds: float, model: str, manifest: Manifest) -> Heard:
    clips: list[Clip] = []
    events: dict[str, Alarm] = {}
    sessions: dict[str, float] = {}
    with (
        fake_cameras(path, "--start", "on_connect") as urls,
        live_run(urls, model=model) as run,
        Subscriber(run.address, kinds=["clip", "event"]) as subscriber,
    ):
        deadline_s = time.monotonic() + seconds + _JOIN_S
        while time.monotonic() < deadline_s and not (clips and clips[-1].end_s >= seconds - manifest.clip.stride_s):
            message = subscriber.receive(1.0)
            if isinstance(message, Prediction):
                clips.append(_clip(message, manifest.labels))
                sessions[message.session] = message.state.age_s
            elif isinstance(message, Event):
                begun = events[message.id].announced_s if message.id in events else message.media_time
                events[message.id] = Alarm(message.start, message.end, message.label, begun)
        missed = subscriber.missed
    alarms = sorted(events.values(), key=lambda alarm: alarm.start_s)
    return Heard(clips, alarms, len(sessions), max(sessions.values(), default=0.0), missed)


def _clip(message: Prediction, labels: Sequence[str]) -> Clip:
    span = message.clip
    scores = np.array([message.scores[label] for label in labels], np.float32)
    return Clip(span.index, span.start, span.end, span.frames, span.coverage, span.start, message.media_time, scores)


def _judge(shown: Sequence[Shown], heard: Heard, manifest: Manifest) -> dict[str, Figure]:
    groups = list(dict.fromkeys(each.video.group for each in shown))
    sampling = Resampling([each.video.group for each in shown])
    starts = np.array([each.start_s for each in shown])
    owners = (starts, np.array([groups.index(each.video.group) for each in shown]))
    runs, quiet = _truth(shown, tuple(manifest.events))
    stream = AlarmStream(
        heard.alarms, StreamTruth(runs, quiet, owners, manifest.clip.length_s), len(groups)
    )  # the groups of `sampling` are in the same order
    inside = [(clip, each) for clip in heard.clips for each in shown if _within(clip, each)]
    right = np.array([manifest.labels[int(clip.probabilities.argmax())] == each.video.label for clip, each in inside])
    owner = np.array([groups.index(each.video.group) for _, each in inside], np.int64)
    return {
        "accuracy of clips within a video": sampling.figure(lambda w: float(right @ w[owner] / w[owner].sum())),
        "event F1, tIoU 0.1": sampling.figure(stream.f1(overlap=0.1)),
        "event F1, tIoU 0.3": sampling.figure(stream.f1(overlap=0.3)),
        "event F1, start within 3 s": sampling.figure(stream.f1(tolerance_s=3.0)),
        "events missed": sampling.figure(stream.missed()),
        "delay, median, s": sampling.figure(stream.delay_s(0.5)),
        "false alarms per hour": sampling.figure(stream.false_per_hour()),
    }


def _within(clip: Clip, each: Shown) -> bool:
    """Whether at least three quarters of the clip show this video."""
    shared_s = min(clip.end_s, each.end_s) - max(clip.start_s, each.start_s)
    return shared_s >= 0.75 * (clip.end_s - clip.start_s)


def _truth(shown: Sequence[Shown], alarming: Sequence[str]) -> tuple[list[Run], list[tuple[float, float]]]:
    """Runs of the labels that have an event rule, neighbours joined, and the time in between."""
    runs, quiet = [], []
    for label, stretch in groupby(shown, key=lambda each: each.video.label):
        parts = list(stretch)
        if label in alarming:
            runs.append((parts[0].start_s, parts[-1].end_s, str(label)))
        else:
            quiet.append((parts[0].start_s, parts[-1].end_s))
    return runs, quiet


def _text(figure: Figure) -> str:
    if figure.value is None:
        return f"none: {figure.why}"
    interval = f"  [{figure.low:.3f}, {figure.high:.3f}]" if figure.low is not None else f"  ({figure.why})"
    return f"{figure.value:.3f}{interval}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a bundle's name or folder")
    parser.add_argument("--data", type=Path, required=True, help="manifest or folders of labelled clips")
    parser.add_argument("--split", default="", help="which of them; all without it")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the videos")
    parser.add_argument("--size", default="320x240", help="WIDTHxHEIGHT of the stream")
    parser.add_argument("--kbit", type=int, default=600)
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
