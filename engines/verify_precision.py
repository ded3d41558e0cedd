"""A lower-precision encoder against float32, judged by what the whole model then says of moving pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from engines.backends import BACKENDS
from engines.bundle import ENCODER, Bundle
from engines.clips import ClipClock, Step
from engines.comparison import Check, Row, difference, failed
from engines.encoder import Encoder
from engines.engine import FULL_PRECISION
from engines.errors import BackendError, ModelError
from engines.further import without
from engines.manifest import Manifest
from engines.scene.scene import DEFAULT_SEED, Scene
from engines.temporal import Temporal
from engines.verdicts import verdict
from engines.verify_encoder import encode

PROBABILITY_LIMIT = 0.02  # of every step
DECISION_LIMIT = 0.01  # share of the clips that may get another label
_CAMERAS, _SECONDS = 5, 24.0  # 115 clips of 2 s, one each second
_LEAST = 16  # pixels that a scene must have
_BATCH, _AT_ONCE = 8, 64  # pictures

Film = Iterator[NDArray[np.uint8]]
Features = NDArray[np.float32]
Probabilities = NDArray[np.float32]  # [cameras, steps, labels]


def check_precision(bundle: Bundle, backend: str, precision: str) -> Check:
    """Step the features of the test scene's films, encoded in `precision` and in f32, through the float32 step.

    The scene shows people who come, stay and leave things; for any model that is at least video, not noise. Passes
    where no probability differs by more than 0.02 and at most 1 % of the clips are labelled differently.

    Raises:
        BackendError: the back end has no such precision or cannot run the model.
    """
    low, full = _features(bundle, backend, (precision, FULL_PRECISION))
    row = Row(_title(precision), backend, FULL_PRECISION)
    return judge_precision(row, _answers(bundle, backend, low), _answers(bundle, backend, full), bundle.manifest)


def try_precision(bundle: Bundle, backend: str, precision: str) -> Check | str:
    """`check_precision`, or a sentence that says why there is nothing to check: it does not run here.

    A precision that was condemned here is a failed check.
    """
    condemned = verdict(BACKENDS[backend], bundle.read(ENCODER), precision)
    if condemned is not None:
        note = f"{condemned} when it was built; to try again: vidpipe build --backend {backend} --precision {precision}"
        return failed(Row(_title(precision), backend, FULL_PRECISION), note, PROBABILITY_LIMIT)
    try:
        with Encoder.open(bundle, backend, max_batch=_BATCH, precision=precision) as encoder:
            real = encoder.precision
    except ModelError as error:
        return f"{backend} in {precision}: {error}"
    if real != precision:
        return f"{backend} in {precision}: this machine computes it in {real}"
    return check_precision(bundle, backend, precision)


def lower_precisions(names: Sequence[str], wanted: Sequence[str] | None) -> list[tuple[str, str]]:
    """Each back end among `names` with each lower precision that it has and that is wanted; None: all.

    Raises:
        BackendError: a precision is wanted that no back end among `names` has.
    """
    had = [(name, precision) for name in names for precision in BACKENDS[name].precisions]
    if wanted is None:
        return had
    known = list(dict.fromkeys([FULL_PRECISION, *(precision for _, precision in had)]))
    for precision in wanted:
        if precision not in known:
            raise BackendError(f"no encoder on {' or '.join(names)} runs in {precision!r}: known is {', '.join(known)}")
    return [pair for pair in had if pair[1] in wanted]


def judge_precision(row: Row, found: Probabilities, expected: Probabilities, manifest: Manifest) -> Check:
    """Compare the probabilities of every step, and the labels of the clips that they make."""
    worst = difference(found, expected)
    now, before = _labels(found, manifest), _labels(expected, manifest)
    changed = sum(a != b for a, b in zip(now, before, strict=True))
    many = changed > DECISION_LIMIT * len(before)
    return Check(
        check=row.check,
        backend=row.backend,
        against=row.against,
        max_difference=worst,
        limit=PROBABILITY_LIMIT,
        decisions=len(before),
        decisions_changed=changed,
        must_differ=False,
        passed=worst <= PROBABILITY_LIMIT and not many,
        note=f"{changed} of {len(before)} clips are labelled differently" if many else "",
    )


def _title(precision: str) -> str:
    return f"encoder in {precision}"


def _film(bundle: Bundle, camera: int) -> Film:
    seen = bundle.manifest.input
    scene = Scene(DEFAULT_SEED + camera, max(_LEAST, seen.width), max(_LEAST, seen.height), seen.fps)
    for index in range(round(_SECONDS * seen.fps)):
        yield scene.frame(index)[: seen.height, : seen.width]


def _features(bundle: Bundle, backend: str, precisions: tuple[str, str]) -> tuple[list[Features], list[Features]]:
    """Each film's features in both precisions; of the pictures only a few are held at once."""
    with (
        Encoder.open(bundle, backend, max_batch=_BATCH, precision=precisions[0]) as low,
        Encoder.open(bundle, backend, max_batch=_BATCH, precision=precisions[1]) as full,
    ):
        seen: list[tuple[list[Features], list[Features]]] = []
        for camera in range(_CAMERAS):
            film = _film(bundle, camera)
            seen.append(([], []))
            while part := list(islice(film, _AT_ONCE)):
                pictures = np.stack(part)
                for parts, encoder in zip(seen[-1], (low, full), strict=True):
                    parts.append(encode(encoder, pictures, _BATCH))
    return [np.concatenate(parts) for parts, _ in seen], [np.concatenate(parts) for _, parts in seen]


def _answers(bundle: Bundle, backend: str, films: list[Features]) -> Probabilities:
    """Each film as one camera, its state carried."""
    prob = []
    dt = [1 / bundle.manifest.input.fps] * len(films)
    with Temporal.open(bundle, backend, capacity=len(films)) as temporal:
        rows = [temporal.pool.acquire(camera) for camera in range(len(films))]
        for t in range(len(films[0])):
            now = without(np.stack([film[t] for film in films]), bundle.manifest.further)
            prob.append(temporal.step(rows, now, dt, [t > 0] * len(rows)).prob)
    return np.stack(prob, axis=1)


def _labels(answers: Probabilities, manifest: Manifest) -> list[int]:
    """What the clips of all cameras are labelled, by the rule by which they are published."""
    fps = manifest.input.fps
    labels = []
    for camera in answers:
        clock = ClipClock(manifest.clip, fps, 0.0)
        clips = [clip for t, row in enumerate(camera) for clip in clock.add(Step(t / fps, row))]
        labels += [int(clip.probabilities.argmax()) for clip in clips]
    return labels
