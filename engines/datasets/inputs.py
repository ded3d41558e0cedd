"""Further inputs of a labelled video: samples with their times in an `.npz` file, packed as serving packs them.

For an input `audio` the file holds `audio`, numbers `[S, size]` (or `[S]` where the size is 1), and `audio_times_s`,
`[S]` rising seconds from the video's first frame. An input that the file does not hold is missing all the time.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.errors import DataError
from engines.further import FurtherInput, pack

_TIMES = "_times_s"


@dataclass(frozen=True)
class Samples:
    """Samples of one input: times int64 `[S]` in nanoseconds of media time, rising, and values float32 `[S, size]`."""

    times_ns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]

    def at(self, now_ns: int, max_age_s: float) -> npt.NDArray[np.float32] | None:
        """The newest values that are not after `now_ns` and not older than `max_age_s`, by the rule of serving."""
        index = int(np.searchsorted(self.times_ns, now_ns, side="right")) - 1
        if index < 0 or now_ns - self.times_ns[index] > max_age_s * 1e9:
            return None
        found: npt.NDArray[np.float32] = self.values[index]
        return found


def read_inputs(path: Path | None, further: Sequence[FurtherInput]) -> dict[str, Samples]:
    """The samples of each input that the file holds; none where there is no file.

    Raises:
        DataError: the file cannot be read, or holds something else than the inputs' samples and times.
    """
    if path is None:
        return {}
    try:
        # from memory: of a file that is no archive numpy keeps the handle
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise DataError(f"the inputs {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise DataError(f"the inputs {path} are no .npz file of numbers: write them with numpy.savez") from error
    known = [name for each in further for name in (each.name, each.name + _TIMES)]
    for name in arrays:
        if name not in known:
            raise DataError(f"{path} holds {name!r}, which the model does not take: it takes {', '.join(known)}")
    return {each.name: _samples(path, each, arrays) for each in further if {each.name, each.name + _TIMES} & {*arrays}}


def accompany(
    features: npt.NDArray[np.floating[Any]],
    media_s: npt.NDArray[np.float64],
    samples: Mapping[str, Samples],
    further: Sequence[FurtherInput],
) -> npt.NDArray[np.float32]:
    """Features `[F, D]` of frames at `media_s` `[F]` with the samples that serving would have had at each of them."""
    rows = [
        [
            samples[each.name].at(round(time_s * 1e9), each.max_age_s) if each.name in samples else None
            for each in further
        ]
        for time_s in media_s.tolist()
    ]
    return pack(features.astype(np.float32, copy=False), rows, further)


def _samples(path: Path, further: FurtherInput, arrays: Mapping[str, npt.NDArray[Any]]) -> Samples:
    name = further.name
    for needed in (name, name + _TIMES):
        if needed not in arrays:
            raise DataError(f"{path} holds no {needed!r}: for each input give its values and {name + _TIMES!r}")
    values, times_s = arrays[name], arrays[name + _TIMES]
    if values.ndim == 1 and further.size == 1:
        values = values[:, None]
    if times_s.ndim != 1 or values.shape != (len(times_s), further.size):
        raise DataError(
            f"{path} has {name} as {list(values.shape)} and its times as {list(times_s.shape)}: they must be "
            f"[S, {further.size}] and [S]"
        )
    if values.dtype.kind not in "fiub" or times_s.dtype.kind not in "fiu":
        raise DataError(f"{path} has {name} as {values.dtype} at times as {times_s.dtype}: both must be numbers")
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    if not (np.isfinite(numbers).all() and np.isfinite(times_s).all() and (np.diff(times_s) >= 0).all()):
        raise DataError(f"{path}: the values of {name} must be finite, and their times finite and rising")
    return Samples(np.round(times_s.astype(np.float64) * 1e9).astype(np.int64), numbers)
