"""The state pool: one row of every state tensor per camera, gathered and scattered by row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array
from engines.errors import ModelError
from engines.manifest import Manifest
from engines.snapshot import SavedTensor, Snapshot

Rows = NDArray[np.int64]
_LITTLE = np.dtype("<f4")


class RowStore(Protocol):
    """Where rows live: float32 `[rows, *shape]` per state tensor."""

    def zero(self, rows: Rows) -> None:
        """Forget what the rows remember."""
        ...

    def read(self, row: int) -> dict[str, NDArray[np.float32]]:
        """Copies of one row."""
        ...

    def write(self, row: int, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace one row."""
        ...

    def gather(self, rows: Rows) -> dict[str, NDArray[np.float32]]:
        """Copies of some rows, `[len(rows), *shape]`."""
        ...

    def scatter(self, rows: Rows, values: Mapping[str, Array]) -> None:
        """Replace some rows by `[len(rows), *shape]`."""
        ...


class HostRows:
    """Rows in the memory of this process."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], rows: int) -> None:
        self._tensors = {name: np.zeros((rows, *shape), np.float32) for name, shape in shapes.items()}

    def zero(self, rows: Rows) -> None:
        """See `RowStore.zero`."""
        for tensor in self._tensors.values():
            tensor[rows] = 0

    def read(self, row: int) -> dict[str, NDArray[np.float32]]:
        """See `RowStore.read`."""
        return {name: tensor[row].copy() for name, tensor in self._tensors.items()}

    def write(self, row: int, values: Mapping[str, NDArray[np.float32]]) -> None:
        """See `RowStore.write`."""
        for name, tensor in self._tensors.items():
            tensor[row] = values[name]

    def gather(self, rows: Rows) -> dict[str, NDArray[np.float32]]:
        """See `RowStore.gather`."""
        return {name: tensor[rows] for name, tensor in self._tensors.items()}

    def scatter(self, rows: Rows, values: Mapping[str, Array]) -> None:
        """See `RowStore.scatter`."""
        for name, tensor in self._tensors.items():
            tensor[rows] = values[name]


class StatePool:
    """The hidden state of up to `capacity` cameras: float32 `[capacity, *shape]` per state tensor of the manifest.

    A row is zero when it is handed out, whoever had it before. `store` holds the rows; by default this process does.
    """

    def __init__(self, manifest: Manifest, model_sha: str, capacity: int, store: RowStore | None = None) -> None:
        self.capacity = capacity
        self._model, self._sha = manifest.name, model_sha
        self._output_of = {state.input: state.output for state in manifest.state}
        self._shapes = {state.input: tuple(state.shape) for state in manifest.state}
        self._store: RowStore = store or HostRows(self._shapes, capacity)
        self._free = list(range(capacity - 1, -1, -1))
        self._keys: dict[Hashable, int] = {}
        self._held = np.zeros(capacity, np.bool_)

    @property
    def bytes_per_row(self) -> int:
        """Memory of one camera's state."""
        return sum(_LITTLE.itemsize * prod(shape) for shape in self._shapes.values())

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
        row = self._free[-1]
        self.zero(np.array([row]))
        self._keys[key] = self._free.pop()
        self._held[row] = True
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
        self._store.zero(rows)

    def gather(self, rows: Rows) -> dict[str, NDArray[np.float32]]:
        """Copies of the rows, `[len(rows), *shape]`, by the name of the graph's state input."""
        return self._store.gather(rows)

    def scatter(self, rows: Rows, outputs: Mapping[str, Array]) -> None:
        """Store the next state of the rows, found among the graph's `outputs` by the manifest's map."""
        self._store.scatter(rows, {name: outputs[output] for name, output in self._output_of.items()})

    def snapshot(self, row: int, *, age_steps: int, age_s: float) -> Snapshot:
        """Copy one row out, with its age in steps and in seconds of media time, which the caller counts."""
        return self.snapshots([row], [(age_steps, age_s)])[0]

    def snapshots(self, rows: Sequence[int], ages: Sequence[tuple[int, float]]) -> list[Snapshot]:
        """Copy rows out in one go, each with its age in steps and in seconds of media time."""
        if not rows:
            return []
        for row in rows:
            self._check_held(row)
        copies = {
            name: tensor.astype(_LITTLE, order="C", copy=False)
            for name, tensor in self._store.gather(np.asarray(rows, np.int64)).items()
        }
        return [
            Snapshot(
                self._sha,
                age_steps,
                age_s,
                {name: SavedTensor(self._shapes[name], copy[index].tobytes()) for name, copy in copies.items()},
            )
            for index, (age_steps, age_s) in enumerate(ages)
        ]

    def restore(self, row: int, snapshot: Snapshot) -> None:
        """Write a snapshot into a row; the row is unchanged where it is refused.

        Raises:
            ModelError: the snapshot is of another model, or its tensors do not fit this one's or are not finite.
        """
        self._check_held(row)
        if snapshot.model_sha != self._sha:
            raise ModelError(
                f"a saved state belongs to the model {snapshot.model_sha[:12]}…, and {self._model} is {self._sha[:12]}…"
                ": start without it"
            )
        self._check_tensors(snapshot)
        values = {
            name: np.frombuffer(snapshot.tensors[name].data, _LITTLE).reshape(shape)
            for name, shape in self._shapes.items()
        }
        for name, tensor in values.items():
            if not np.isfinite(tensor).all():
                raise ModelError(f"a saved state has values in {name} that are no numbers: start without it")
        self._store.write(row, values)

    def _check_tensors(self, snapshot: Snapshot) -> None:
        if snapshot.tensors.keys() != self._shapes.keys():
            found, expected = ", ".join(snapshot.tensors), ", ".join(self._shapes)
            raise ModelError(f"a saved state has the tensors {found}, {self._model} has {expected}: start without it")
        for name, expected_shape in self._shapes.items():
            saved = snapshot.tensors[name]
            if saved.shape != expected_shape or len(saved.data) != _LITTLE.itemsize * prod(expected_shape):
                raise ModelError(
                    f"a saved state has {name} as {list(saved.shape)} in {len(saved.data)} bytes, {self._model} has it "
                    f"as {list(expected_shape)}: start without it"
                )

    def _check_held(self, row: int) -> None:
        if not (0 <= row < self.capacity and self._held[row]):
            raise ValueError(f"row {row} of the state pool is not in use: acquire it first")
