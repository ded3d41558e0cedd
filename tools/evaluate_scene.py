"""How good a scene bundle is where it counts: at the subscriber, over H.264 and RTSP, in real time.

    python tools/evaluate_scene.py --scenes 24 --at-once 8 --seconds 240
    python tools/evaluate_scene.py --scenes 8 --at-once 8 --seconds 120 --rate-hz 2.5    # half the model's rate

Each scene (a seed that training never saw) is one RTSP camera of `vidpipe fakecam` whose clock starts at the
connection; `vidpipe run` reads them all, and this tool judges what it hears on the prediction stream against the truth.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from engines.bundle import load_bundle
from engines.clips import Clip
from engines.evaluation.occurrences import Run, match
from engines.training.scene.judging import judged, truth_of
from engines.training.scene.metrics import Judged, clip_tallies, confusion, memory_tally
from pipeline.bench.live import fake_cameras, live_run
from pipeline.stream.messages import Event, Prediction
from pipeline.stream.subscriber import Subscriber

_JOIN_S = 30.0


def main() -> None:
    """Evaluate in batches of as many cameras as run at once, and print the figures."""
    arguments = _arguments()
    labels = load_bundle(arguments.model).manifest.labels
    scenes: list[Judged] = []
    found: list[tuple[list[Run], list[Run]]] = []
    for first in range(0, arguments.scenes, arguments.at_once):
        seeds = range(
            arguments.first_seed + first, arguments.first_seed + min(first + arguments.at_once, arguments.scenes)
        )
        for seed, (clips, events) in zip(seeds, _listen(seeds, arguments, labels), strict=True):
            scenes.append(judged(seed, arguments.seconds, clips))
            found.append((events, truth_of(seed, arguments.seconds)[0]))
        _report(scenes, found, labels)


def _listen(seeds: range, arguments: argparse.Namespace, labels: tuple[str, ...]) -> list[tuple[list[Clip], list[Run]]]:
    """Clips and ended events of each scene as they arrived."""
    clips: list[list[Clip]] = [[] for _ in seeds]
    events: list[dict[str, Run]] = [{} for _ in seeds]
    shape = ("--size", f"{arguments.width}x{arguments.height}", "--fps", arguments.fps, "--bitrate", arguments.kbit)
    serve = (f"scene://?seed={seeds.start}", "--cameras", len(seeds), "--start", "on_connect", *shape)
    with (
        fake_cameras(*serve) as urls,
        live_run(urls, model=arguments.model, backend=arguments.backend, rate_hz=arguments.rate_hz) as run,
        Subscriber(run.address, kinds=["clip", "event"]) as subscriber,
    ):
        deadline_s = time.monotonic() + arguments.seconds + _JOIN_S
        while time.monotonic() < deadline_s and not all(c and c[-1].end_s >= arguments.seconds for c in clips):
            message = subscriber.receive(1.0)
            if isinstance(message, Prediction) and message.clip.end <= arguments.seconds + 1:
                clips[_number(message)].append(_clip(message, labels))
            elif isinstance(message, Event) and message.start < arguments.seconds:
                end_s = min(message.end, arguments.seconds)
                events[_number(message)][message.id] = (message.start, end_s, message.label)
        if subscriber.missed:
            print(f"{subscriber.missed} messages were lost on the way")
    return [(seen, list(heard.values())) for seen, heard in zip(clips, events, strict=True)]


def _number(message: Prediction | Event) -> int:
    return int(message.camera.removeprefix("cam"))


def _clip(message: Prediction, labels: tuple[str, ...]) -> Clip:
    span = message.clip
    scores = np.array([message.scores[label] for label in labels], np.float32)
    return Clip(span.index, span.start, span.end, span.frames, span.coverage, span.start, message.media_time, scores)


def _report(scenes: list[Judged], found: list[tuple[list[Run], list[Run]]], labels: tuple[str, ...]) -> None:
    far, near = clip_tallies(scenes, labels)
    matched = sum(match(events, [run for run in runs if run[2] != "idle"]) for events, runs in found)
    count = sum(len(events) + len([run for run in runs if run[2] != "idle"]) for events, runs in found)
    memory = memory_tally(scenes, labels, "left_behind")
    print(f"{len(scenes)} scenes at the subscriber:")
    print(f"  clip accuracy            {far.share:.3f}  ({far.right} of {far.total})")
    print(f"  within 1 s of a change   {near.share:.3f}  ({near.right} of {near.total})")
    print(f"  event F1                 {2 * matched / max(1, count):.3f}  ({matched} matched, {count} in all)")
    print(f"  left_behind after 60 s   {memory.share:.3f}  ({memory.right} of {memory.total})")
    print(confusion(scenes, labels), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scene", help="a bundle's name or folder")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--at-once", type=int, default=8, help="cameras that run together")
    parser.add_argument("--seconds", type=float, default=240.0, help="length of a scene")
    parser.add_argument("--first-seed", type=int, default=9_000_000)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--rate-hz", type=float, help="samples a second of each camera; by default the model's")
    parser.add_argument("--kbit", type=int, default=500)
    return parser.parse_args()


if __name__ == "__main__":
    main()
