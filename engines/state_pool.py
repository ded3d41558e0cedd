"""The state pool: one row of every state tensor per camera, gathered and scattered by row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array
from engines.errors import ModelError
from engines.manifest import Manifest
from engines.snapshot import SavedTensor, Snapshot

Rows = NDArray[np.int64]
_LITTLE = np.dtype("<f4")


class StatePool:
    """The hidden state of up to `capacity` cameras: float32 `[capacity, *shape]` per state tensor of the manifest.

    A row is zero when it is handed out, whoever had it before.
    """

    def __init__(self, manifest: Manifest, model_sha: str, capacity: int) -> None:
        self.capacity = capacity
        self._model, self._sha = manifest.name, model_sha
        self._output_of = {state.input: state.output for state in manifest.state}
        self._tensors = {state.input: np.zeros((capacity, *state.shape), np.float32) for state in manifest.state}
        self._free = list(range(capacity - 1, -1, -1))
        self._keys: dict[Hashable, int] = {}
        self._held = np.zeros(capacity, np.bool_)

    @property
    def bytes_per_row(self) -> int:
        """Memory of one camera's state."""
        return sum(tensor[:1].nbytes for tensor in self._tensors.values())

    @property
    def rows(self) -> Mapping[Hashable, int]:
        """The rows in use, by the key that acquired them."""
        return dict(self._keys)

    def acquire(self, key: Hashable) -> int:
        """Hand out a zeroed row to `key`, e.g. a camera's name.

        Raises:
            ValueError: `key` holds a row already.
            ModelError: all rows are in use.
        """
        if key in self._keys:
            raise ValueError(f"{key!r} holds row {self._keys[key]} of the state pool already: release it first")
        if not self._free:
            raise ModelError(
                f"the state pool of {self._model} has {self.capacity} rows, all in use: open it with a larger capacity"
            )
        row = self._keys[key] = self._free.pop()
        self._held[row] = True
        self.zero(np.array([row]))
        return row

    def release(self, row: int) -> None:
        """Take a row back.

        Raises:
            ValueError: nobody holds it.
        """
        self._check_held(row)
        key = next(key for key, held in self._keys.items() if held == row)
        del self._keys[key]
        self._held[row] = False
        self._free.append(row)

    def check(self, rows: Rows) -> None:
        """Refuse rows that are not in use, or the same row twice, in which case one of two results would be lost.

        Raises:
            ValueError: naming the row.
        """
        seen: set[int] = set()
        for row in rows.tolist():
            self._check_held(row)
            if row in seen:
                raise ValueError(f"row {row} is in the batch twice: one camera may have one frame in a batch")
            seen.add(row)

    def zero(self, rows: Rows) -> None:
        """Forget what the rows remember."""
        for tensor in self._tensors.values():
            tensor[rows] = 0

    def gather(self, rows: Rows) -> dict[str, NDArray[np.float32]]:
        """Copies of the rows, `[len(rows), *shape]`, by the name of the graph's state input."""
        return {name: tensor[rows] for name, tensor in self._tensors.items()}

    def scatter(self, rows: Rows, outputs: Mapping[str, Array]) -> None:
        """Store the next state of the rows, found among the graph's `outputs` by the manifest's map."""
        for name, tensor in self._tensors.items():
            tensor[rows] = outputs[self._output_of[name]]

    def snapshot(self, row: int, *, age_steps: int, age_s: float) -> Snapshot:
        """Copy one row out, with its age in steps and in seconds of media time, which the caller counts."""
        self._check_held(row)
        tensors = {
            name: SavedTensor(tensor.shape[1:], tensor[row].astype(_LITTLE).tobytes())
            for name, tensor in self._tensors.items()
        }
        return Snapshot(self._sha, age_steps, age_s, tensors)

    def restore(self, row: int, snapshot: Snapshot) -> None:
        """Write a snapshot into a row; the row is unchanged where it is refused.

        Raises:
            ModelError: the snapshot is of another model, or its tensors do not fit this one's.
        """
        self._check_held(row)
        if snapshot.model_sha != self._sha:
            raise ModelError(
                f"a saved state belongs to the model {snapshot.model_sha[:12]}…, and {self._model} is {self._sha[:12]}…"
                ": start without it"
            )
        self._check_tensors(snapshot)
        for name, tensor in self._tensors.items():
            tensor[row] = np.frombuffer(snapshot.tensors[name].data, _LITTLE).reshape(tensor.shape[1:])

    def _check_tensors(self, snapshot: Snapshot) -> None:
        if snapshot.tensors.keys() != self._tensors.keys():
            found, expected = ", ".join(snapshot.tensors), ", ".join(self._tensors)
            raise ModelError(f"a saved state has the tensors {found}, {self._model} has {expected}: start without it")
        for name, tensor in self._tensors.items():
            saved, expected_shape = snapshot.tensors[name], tensor.shape[1:]
            if saved.shape != expected_shape or len(saved.data) != tensor[0].nbytes:
                raise ModelError(
                    f"a saved state has {name} as {list(saved.shape)} in {len(saved.data)} bytes, {self._model} has it "
                    f"as {list(expected_shape)}: start without it"
                )

    def _check_held(self, row: int) -> None:
        if not (0 <= row < self.capacity and self._held[row]):
            raise ValueError(f"row {row} of the state pool is not in use: acquire it first")
