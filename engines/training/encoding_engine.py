"""The frozen encoder on the fastest back end that is here: features of many videos are made several times sooner."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engines.agreement import FEATURES, FRAMES
from engines.backends import open_engines
from engines.datasets.encoding import Encode, Frames
from engines.engine import Engine, EngineOptions
from engines.errors import BackendError, MissingExtraError
from engines.export import export_encoder
from engines.families.contract import StreamModel
from engines.training.features import encode

BATCH = 8
TOLERANCE = 1e-3
"""Largest difference from torch, beside the largest feature."""

_log = logging.getLogger("vidpipe.training")


def frozen_encoding(model: StreamModel) -> Encode:
    """How to encode pictures: in float32 on the back end that `auto` picks if it says what torch says, else in torch.

    Pictures are fed `BATCH` at a time, the last batch filled up, as a graph compiled for a fixed batch asks for.
    """
    model.eval()
    try:
        engine = _open(model)
    except (BackendError, MissingExtraError) as error:
        _log.info("features are made by torch: %s", error)
        return lambda frames: encode(model, frames)
    sample = np.random.default_rng(0).integers(0, 256, (BATCH, *model.frame_shape, 3), np.uint8)
    expected, found = encode(model, sample), _run(engine, sample)
    if float(np.abs(found - expected).max()) > TOLERANCE * max(1.0, float(np.abs(expected).max())):
        _log.warning("features are made by torch: %s computes others", engine.backend)
        return lambda frames: encode(model, frames)
    return lambda frames: _run(engine, frames)


def _open(model: StreamModel) -> Engine:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.onnx"
        export_encoder(model, path)
        graph = path.read_bytes()
    options = EngineOptions("the encoder", batch=BATCH, threads=torch.get_num_threads(), max_batch=BATCH)
    return open_engines(graph, "auto", [options]).engines[0]


def _run(engine: Engine, frames: Frames) -> NDArray[np.float32]:
    parts = []
    for at in range(0, len(frames), BATCH):
        some = frames[at : at + BATCH]
        whole = np.concatenate([some, np.zeros((BATCH - len(some), *some.shape[1:]), np.uint8)])
        parts.append(engine.run({FRAMES: whole})[FEATURES][: len(some)])
    return np.concatenate(parts)
