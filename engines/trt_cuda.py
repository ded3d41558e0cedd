"""Device memory, pinned memory, streams and CUDA graphs: pycuda, and cuda-bindings for the graphs, which pycuda lacks.

pycuda 2026.1 (https://documen.tician.de/pycuda/driver.html), cuda-bindings 12 and 13
(https://nvidia.github.io/cuda-python/cuda-bindings/latest/). The context is the device's primary one, which torch and
others share, pushed only while it is used, so any thread may call. The device is the first that CUDA shows: choose
with CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.engine import Array
from engines.errors import BackendError, MissingExtraError

_log = logging.getLogger("vidpipe.tensorrt")


@dataclass(frozen=True)
class Buffer:
    """Some bytes of device memory, freed with the last reference."""

    address: int
    nbytes: int
    owner: object


class Cuda:
    """The first device, through pycuda. Work is queued on streams; only `synchronize` and events wait for it.

    Raises:
        MissingExtraError: pycuda is not installed.
        BackendError: it does not import, or CUDA does not start.
    """

    def __init__(self) -> None:
        try:
            from pycuda import driver  # noqa: PLC0415 - optional
        except ModuleNotFoundError as error:
            raise MissingExtraError("the back end tensorrt", error.name or "pycuda", "tensorrt") from error
        except ImportError as error:
            raise BackendError(f"pycuda is installed but cannot be imported: {error}") from error
        self._driver: Any = driver
        with self.errors("CUDA does not start"):
            driver.init()
            self._context = driver.Device(0).retain_primary_context()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the device's context current in this thread."""
        self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn CUDA's exceptions into ours."""
        try:
            yield
        except self._driver.Error as error:
            raise BackendError(f"{what}: {' '.join(str(error).split())}") from error

    def stream(self) -> Any:
        """A new stream; its handle is `.handle`."""
        return self._driver.Stream()

    def event(self) -> Any:
        """A new event, without timing."""
        return self._driver.Event(self._driver.event_flags.DISABLE_TIMING)

    def buffer(self, nbytes: int) -> Buffer:
        """Device memory of at least one byte."""
        owner = self._driver.mem_alloc(max(1, nbytes))
        return Buffer(int(owner), nbytes, owner)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A zeroed array in page-locked memory, which the device can copy from and to while the CPU does other work."""
        array: Array = self._driver.pagelocked_empty(shape, dtype)
        array.fill(0)
        return array

    def upload(self, address: int, array: Array, stream: Any) -> None:
        """Queue a copy of a contiguous array to the device."""
        self._driver.memcpy_htod_async(address, array, stream)

    def download(self, array: Array, address: int, stream: Any) -> None:
        """Queue a copy from the device into a contiguous array."""
        self._driver.memcpy_dtoh_async(array, address, stream)

    def copy(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        """Queue a copy inside the device."""
        self._driver.memcpy_dtod_async(target, source, nbytes, stream)

    def clear(self, address: int, nbytes: int, stream: Any) -> None:
        """Queue zeroing."""
        self._driver.memset_d8_async(address, 0, nbytes, stream)

    def capture(self, stream: Any, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` queues on `stream`, and get a function that replays it in one launch.

        Where that cannot be (no cuda-bindings, or work that no graph can hold) it is `work` itself: see the log.
        """
        try:
            from engines.trt_graph import record  # noqa: PLC0415 - needs cuda-bindings
        except ImportError as error:
            _log.warning("without CUDA graphs, which need cuda-bindings (%s): pip install 'vidpipe[tensorrt]'", error)
            return work
        try:
            return record(stream.handle, work)
        except BackendError as error:
            _log.warning("without a CUDA graph: %s", error)
            return work
