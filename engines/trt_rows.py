"""Rows of state in GPU memory, twice: a step reads one copy and writes the other, then they change places."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.trt_cuda import Cuda

_FLOAT = np.dtype(np.float32)


class DeviceRows:
    """float32 `[rows, *shape]` per state tensor on the device; has the verbs of `state_pool.HostRows`."""

    def __init__(self, cuda: Cuda, shapes: Mapping[str, tuple[int, ...]], rows: int, stream: Any) -> None:
        self._cuda, self._stream = cuda, stream
        self._shapes = dict(shapes)
        self._row_bytes = {name: prod(shape) * _FLOAT.itemsize for name, shape in shapes.items()}
        self._count = rows
        self._staged: dict[str, NDArray[np.float32]] = {}
        self.current = 0  # which copy holds the state
        with cuda.active(), cuda.errors("no GPU memory for the state pool"):
            self._copies = [
                {name: cuda.buffer(rows * size) for name, size in self._row_bytes.items()} for _ in range(2)
            ]
            for copy in self._copies:
                for buffer in copy.values():
                    cuda.clear(buffer.address, buffer.nbytes, stream)

    def addresses(self, copy: int) -> dict[str, int]:
        """Where one of the two copies begins, per state tensor."""
        return {name: buffer.address for name, buffer in self._copies[copy].items()}

    def flip(self) -> None:
        """Make the copy that the last step wrote the current one."""
        self.current = 1 - self.current

    def zero(self, rows: NDArray[np.int64]) -> None:
        """Forget what the rows remember."""
        with self._cuda.active(), self._cuda.errors("the state pool cannot be cleared"):
            for name, size in self._row_bytes.items():
                for row in rows.tolist():
                    self._cuda.clear(self._address(name, row), size, self._stream)

    def read(self, row: int) -> dict[str, NDArray[np.float32]]:
        """Copies of one row, `shape` per state tensor."""
        arrays = {}
        with self._cuda.active(), self._cuda.errors("the state pool cannot be read"):
            for name, shape in self._shapes.items():
                arrays[name] = self._cuda.pinned(shape, _FLOAT)
                self._cuda.download(arrays[name], self._address(name, row), self._stream)
            self._stream.synchronize()
        return {name: array.copy() for name, array in arrays.items()}

    def write(self, row: int, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace one row."""
        with self._cuda.active(), self._cuda.errors("the state pool cannot be written"):
            for name, shape in self._shapes.items():
                staged = self._cuda.pinned(shape, _FLOAT)
                staged[...] = values[name]
                self._cuda.upload(self._address(name, row), staged, self._stream)
                self._stream.synchronize()

    def gather(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Copies of some rows, `[len(rows), *shape]`: one download a tensor, of all that lies between them."""
        first, last = int(rows.min()), int(rows.max())
        with self._cuda.active(), self._cuda.errors("the state pool cannot be read"):
            spans = {name: array[: last - first + 1] for name, array in self._staging().items()}
            for name, span in spans.items():
                self._cuda.download(span, self._address(name, first), self._stream)
            self._stream.synchronize()
        return {name: span[rows - first] for name, span in spans.items()}

    def scatter(self, rows: NDArray[np.int64], values: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace some rows by `[len(rows), *shape]`."""
        for i, row in enumerate(rows.tolist()):
            self.write(row, {name: values[name][i] for name in self._shapes})

    def close(self) -> None:
        """Give the memory back."""
        self._copies.clear()
        self._staged.clear()

    def _staging(self) -> dict[str, NDArray[np.float32]]:
        """Page-locked room for all rows, made once: to lock pages takes longer than to copy them."""
        if not self._staged:
            self._staged = {
                name: self._cuda.pinned((self._count, *shape), _FLOAT) for name, shape in self._shapes.items()
            }
        return self._staged

    def _address(self, name: str, row: int) -> int:
        return self._copies[self.current][name].address + row * self._row_bytes[name]
