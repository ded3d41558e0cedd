"""Checks of the encoder: pictures in batches must be as good as each picture alone, and wrong pictures must show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.comparison import ALONE, Check, Row, compare_features
from engines.encoder import Encoder

Pictures = NDArray[np.uint8]
Features = NDArray[np.float32]


def encode(encoder: Encoder, images: Pictures, batch: int) -> Features:
    """Features of `images`, `batch` at a time, alternating between the encoder's requests."""
    parts: dict[int, Features] = {}
    running: dict[int, int] = {}
    for number, first in enumerate(range(0, len(images), batch)):
        request = number % encoder.requests
        if request in running:
            parts[running.pop(request)] = encoder.wait(request)
        part = images[first : first + batch]
        encoder.frames(request)[: len(part)] = part
        encoder.start(request, len(part))
        running[request] = first
    parts.update({first: encoder.wait(request) for request, first in running.items()})
    return np.concatenate([parts[first] for first in sorted(parts)])


def check_batches(name: str, encoder: Encoder, images: Pictures, alone: Features) -> Check:
    """Every batch length, with two requests in flight, against one picture at a time."""
    found = np.stack([encode(encoder, images, batch) for batch in range(2, encoder.max_batch + 1)])
    expected = np.broadcast_to(alone, found.shape)
    return compare_features(Row("pictures in batches", name, ALONE), found, expected)


def check_other_pictures(name: str, encoder: Encoder, images: Pictures, alone: Features) -> Check:
    """The control: features of the wrong pictures must be others."""
    row = Row("control: another picture", name, ALONE, must_differ=True)
    return compare_features(row, encode(encoder, np.roll(images, 1, axis=0), 1), alone)
