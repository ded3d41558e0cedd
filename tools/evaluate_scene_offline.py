"""How good the bundle `scene` is on seeds nobody trained on: with its state carried, at half the rate, and in windows.

    python tools/evaluate_scene_offline.py [BUNDLE] --scenes 24 --seconds 300

Each scene is drawn at 640x360, sent through H.264 (500 kbit/s), sampled, resized and run through the bundle's own ONNX
graphs. The windows run the same weights over the last 16 frames from zero state, as a clip classifier would.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from functools import partial

import numpy as np

from engines.bundle import Bundle, load_bundle
from engines.clips import Clip
from engines.encoder import Encoder
from engines.scene import LABELS
from engines.temporal import Temporal
from engines.training.scene.judging import cut, judged
from engines.training.scene.metrics import Judged, Tally, clip_tallies, confusion, event_f1, memory_tally
from engines.training.scene.recipe import Evaluation
from engines.training.scene.video import Film, film_h264
from engines.training.store import in_order

WINDOW = 16
BATCH = 8


def main() -> None:
    arguments = _arguments()
    bundle = load_bundle(arguments.bundle)
    ways: dict[str, list[Judged]] = {
        "state carried": [],
        "state carried, half the rate": [],
        f"{WINDOW}-frame windows": [],
    }
    how = Evaluation(seconds=arguments.seconds, fps=arguments.fps, width=arguments.width, height=arguments.height)
    for seed, film in _films(bundle, how, arguments):
        features = _encode(bundle, film, arguments.backend)
        with Temporal.open(bundle, arguments.backend, capacity=len(features)) as temporal:
            answers = (
                _carried(temporal, features, film.times_s),
                _carried(temporal, features[::2], film.times_s[::2]),
                _windows(temporal, features, film.times_s),
            )
        steps = (film.times_s, film.times_s[::2], film.times_s)
        for way, probabilities, times_s in zip(ways, answers, steps, strict=True):
            clips = cut(probabilities, times_s, bundle.manifest.clip, bundle.manifest.input.fps)
            ways[way].append(judged(seed, how.seconds, clips, arguments.left_s))
    _report(bundle, ways, how)


def _films(bundle: Bundle, how: Evaluation, arguments: argparse.Namespace) -> Iterator[tuple[int, Film]]:
    size = bundle.manifest.input.height, bundle.manifest.input.width
    make = partial(film_h264, how=how, rate_hz=bundle.manifest.input.fps, size=size, left_s=arguments.left_s)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.scenes)
    return zip(seeds, in_order(make, seeds, len(os.sched_getaffinity(0))), strict=True)


def _encode(bundle: Bundle, film: Film, backend: str) -> np.ndarray:
    parts = []
    with Encoder.open(bundle, backend, max_batch=BATCH, requests=1) as encoder:
        for at in range(0, len(film.frames), BATCH):
            frames = film.frames[at : at + BATCH]
            encoder.frames(0)[: len(frames)] = frames
            encoder.start(0, len(frames))
            parts.append(encoder.wait(0))
    return np.concatenate(parts)


def _carried(temporal: Temporal, features: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """One stream from its start, state carried from step to step."""
    row = temporal.pool.acquire("carried")
    dt = np.diff(times_s, prepend=times_s[0])
    steps = zip(features, dt, strict=True)
    probabilities = [temporal.step([row], f[None], [d], [index > 0]).prob[0] for index, (f, d) in enumerate(steps)]
    temporal.pool.release(row)
    return np.stack(probabilities)


def _windows(temporal: Temporal, features: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """For every step the answer after the last 16 frames from zero state."""
    rows = [temporal.pool.acquire(f"window {index}") for index in range(len(features))]
    dt = np.diff(times_s, prepend=times_s[0])
    for back in range(WINDOW - 1, -1, -1):
        frames = np.maximum(np.arange(len(features)) - back, 0)
        keep = np.full(len(features), back < WINDOW - 1)
        probabilities = temporal.step(rows, features[frames], dt[frames], keep).prob
    for row in rows:
        temporal.pool.release(row)
    return probabilities


def _report(bundle: Bundle, ways: dict[str, list[Judged]], how: Evaluation) -> None:
    labels, rules, carried = bundle.manifest.labels, bundle.manifest.events, ways["state carried"]
    what = f"{bundle.name} {bundle.manifest.version} ({bundle.sha[:12]})"
    print(f"{what}: {len(carried)} scenes of {how.seconds:g} s, {how.width}x{how.height} at {how.fps:g} frames/s\n")
    print("| run | clips | accuracy | near a change | event F1 | left_behind 60 s on | cases |")
    print("|---|---|---|---|---|---|---|")
    for way, scenes in ways.items():
        far, near = clip_tallies(scenes, labels)
        memory = memory_tally(scenes, labels, LABELS[-1])
        remembered = f"{memory.share:.3f}" if memory.total else "-"
        figures = f"{far.share:.3f} | {near.share:.3f} | {event_f1(scenes, rules, labels):.3f} | {remembered}"
        print(f"| {way} | {far.total} | {figures} | {memory.total} |")
    by_label = {label: round(event_f1(carried, {label: rule}, labels), 3) for label, rule in rules.items()}
    print(f"\nevent F1 by label: {by_label}")
    print(f"accuracy by third of the scene: {_by_third(carried, labels, how.seconds)}")
    print(f"true label by row, answer by column, {', '.join(labels)}:\n{confusion(carried, labels)}")


def _by_third(scenes: list[Judged], labels: tuple[str, ...], seconds: float) -> str:
    """Whether it gets worse as time goes on."""
    thirds: list[Tally] = []
    for third in range(3):

        def inside(clip: Clip, third: int = third) -> bool:
            return third <= 3 * clip.end_s / (seconds + 1.0) < third + 1

        parts = [Judged([clip for clip in s.clips if inside(clip)], s.runs, ()) for s in scenes]
        thirds.append(clip_tallies(parts, labels)[0])
    return ", ".join(f"{tally.share:.3f}" for tally in thirds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", nargs="?", default="scene")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--first-seed", type=int, default=50_000_000)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--left-s", type=float, nargs=2, help="how long left things stand; 62 110 asks for memory")
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    return parser.parse_args()


if __name__ == "__main__":
    main()
