"""A lower-precision encoder against float32, judged by what the whole model then says of moving pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.comparison import Answers, Check, Row, compare_answers, failed
from engines.encoder import Encoder
from engines.scene.scene import DEFAULT_SEED, Scene
from engines.temporal import Temporal
from engines.verify_encoder import encode

PROBABILITY_LIMIT = 0.02
DECISION_LIMIT = 0.01  # share of the decisions that may differ
_CAMERAS, _SECONDS = 3, 20.0
_LEAST = 16  # pixels that a scene must have


def check_precision(bundle: Bundle, backend: str, precision: str) -> Check:
    """Step the features of the test scene's films, encoded in `precision` and in f32, through the float32 step.

    The scene shows people who come, stay and leave things; for any model that is at least video, not noise. Passes
    where no probability differs by more than 0.02 and at most 1 % of the decisions differ.

    Raises:
        BackendError: the back end has no such precision or cannot run the model.
    """
    row = Row(f"encoder in {precision}", backend, "f32")
    films = list(_films(bundle))
    low, full = (_features(bundle, backend, each, films) for each in (precision, "f32"))
    found, expected = (_answers(bundle, backend, features) for features in (low, full))
    check = compare_answers(row, found, expected, PROBABILITY_LIMIT)
    if check.passed and check.decisions_changed > DECISION_LIMIT * check.decisions:
        return failed(row, f"{check.decisions_changed} of {check.decisions} decisions differ", PROBABILITY_LIMIT)
    return check


def _films(bundle: Bundle) -> Iterator[NDArray[np.uint8]]:
    seen = bundle.manifest.input
    for camera in range(_CAMERAS):
        scene = Scene(DEFAULT_SEED + camera, max(_LEAST, seen.width), max(_LEAST, seen.height), seen.fps)
        frames = (scene.frame(index) for index in range(round(_SECONDS * seen.fps)))
        yield np.stack([frame[: seen.height, : seen.width] for frame in frames])


def _features(
    bundle: Bundle, backend: str, precision: str, films: list[NDArray[np.uint8]]
) -> list[NDArray[np.float32]]:
    with Encoder.open(bundle, backend, max_batch=8, precision=precision) as encoder:
        return [encode(encoder, film, 8) for film in films]


def _answers(bundle: Bundle, backend: str, features: list[NDArray[np.float32]]) -> Answers:
    """Each film as one camera, its state carried; only probabilities, for logits have no fixed scale."""
    prob = []
    dt = [1 / bundle.manifest.input.fps] * len(features)
    with Temporal.open(bundle, backend, capacity=len(features)) as temporal:
        rows = [temporal.pool.acquire(camera) for camera in range(len(features))]
        for t in range(len(features[0])):
            now = np.stack([film[t] for film in features])
            prob.append(temporal.step(rows, now, dt, [t > 0] * len(rows)).prob)
    said = np.concatenate(prob).astype(np.float64)
    return Answers(said, said)
