"""Answers recorded when a bundle was exported: what the trainer's own network said, in one pass over a whole sequence.

A bundle may carry them as `golden.npz`, listed in its manifest like every other file. They are the only offline
reference that does not go through the exported graphs, so they also notice a wrong export or a wrong state map.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.errors import ModelError

GOLDEN = "golden.npz"


@dataclass(frozen=True)
class Golden:
    """One sequence from zero state, and a few pictures.

    Attributes:
        frames: uint8 `[F, height, width, 3]` BGR pictures.
        frame_features: float32 `[F, *features]`, the network's features of `frames`.
        features: float32 `[T, *step_features]`, a sequence of one camera.
        dt: float32 `[T]`, seconds since the step before.
        logits: float32 `[T, labels]`, of one whole-sequence pass over `features` and `dt`, not of T single steps.
    """

    frames: NDArray[np.uint8]
    frame_features: NDArray[np.float32]
    features: NDArray[np.float32]
    dt: NDArray[np.float32]
    logits: NDArray[np.float32]


def encode_golden(golden: Golden) -> bytes:
    """The bytes of a `golden.npz`."""
    buffer = io.BytesIO()
    arrays = {field.name: getattr(golden, field.name) for field in fields(Golden)}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_golden(bundle: Bundle) -> Golden | None:
    """The bundle's recorded answers; None where it has none.

    Raises:
        ModelError: the file is damaged, or its arrays are not what the manifest implies.
    """
    if GOLDEN not in bundle.manifest.files:
        return None
    try:
        with np.load(io.BytesIO(bundle.read(GOLDEN)), allow_pickle=False) as file:
            golden = Golden(**{field.name: file[field.name] for field in fields(Golden)})
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"bundle {bundle.name}: {GOLDEN} cannot be read: {' '.join(str(error).split())}") from error
    _check(bundle, golden)
    return golden


def _check(bundle: Bundle, golden: Golden) -> None:
    manifest = bundle.manifest
    count, steps = len(golden.frames), len(golden.dt)
    expected = {
        "frames": ("uint8", (count, manifest.input.height, manifest.input.width, 3)),
        "frame_features": ("float32", (count, *manifest.features)),
        "features": ("float32", (steps, *manifest.step_features)),
        "dt": ("float32", (steps,)),
        "logits": ("float32", (steps, len(manifest.labels))),
    }
    for name, (dtype, shape) in expected.items():
        array = getattr(golden, name)
        if array.dtype != np.dtype(dtype) or array.shape != shape:
            raise ModelError(
                f"bundle {bundle.name}: {GOLDEN} has {name} as {array.dtype} {list(array.shape)}, expected {dtype} "
                f"{list(shape)}: export the bundle again"
            )
