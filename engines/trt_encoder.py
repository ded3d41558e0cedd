"""The encoder on a GPU: pictures go up from pinned memory, and features stay on the device until someone reads them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engines.agreement import FEATURES, FRAMES, check_encoder
from engines.backends import Opened
from engines.bundle import Bundle
from engines.encoder import Encoder
from engines.trt_engine import TensorRtEngine


class DeviceFeatures:
    """Features float32 `[count, *features]` on the device, which numpy reads like an array by copying them down.

    They live in their request's memory; before the request runs again, those that are still held are copied down.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, engine: TensorRtEngine, address: int, shape: tuple[int, ...]) -> None:
        self._engine = engine
        self._copy: NDArray[np.float32] | None = None
        self.address, self.shape = address, shape

    @property
    def on_device(self) -> bool:
        """Whether `address` still holds them."""
        return self._copy is None

    @property
    def nbytes(self) -> int:
        """Their size."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self)[index]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[np.float32]:  # noqa: FBT001 - numpy's own signature
        self.detach()
        assert self._copy is not None
        return self._copy.astype(dtype or self.dtype, copy=copy is not False)

    def detach(self) -> None:
        """Copy them to the host for good."""
        if self._copy is not None:
            return
        cuda = self._engine.cuda
        with cuda.active(), cuda.errors("features cannot be read from the GPU"):
            stream = cuda.stream()
            array = cuda.pinned(self.shape, self.dtype)
            cuda.download(array, self.address, stream)
            stream.synchronize()
        self._copy = array.copy()


class DeviceEncoder(Encoder):
    """`Encoder` on TensorRT: `wait` gives `DeviceFeatures`, which `DeviceTemporal.step` takes where they are."""

    lends_features = True

    def __init__(self, bundle: Bundle, opened: Opened, max_batch: int, requests: int) -> None:
        engine = cast("TensorRtEngine", opened.engines[0])
        check_encoder(bundle, engine, None)
        self.backend, self.version, self.precision, self.device = (
            engine.backend,
            engine.version,
            engine.precision,
            engine.device,
        )
        self.why = opened.why
        self.max_batch, self.requests = max_batch, requests
        self._engine = engine
        self._shape = bundle.manifest.features
        self._name = f"the encoder of {bundle.name}"
        self._lanes = [engine.new_lane(download=False) for _ in range(requests)]
        with engine.cuda.active(), engine.cuda.errors(f"TensorRT cannot run {self._name}"):
            for lane in self._lanes:
                lane.prepare()
        self._counts = [0] * requests
        self._held: list[weakref.ref[DeviceFeatures] | None] = [None] * requests

    def frames(self, request: int) -> NDArray[np.uint8]:
        """See `Encoder.frames`; the memory is pinned."""
        return self._lanes[request].fed[FRAMES][: self.max_batch]

    def start(self, request: int, count: int) -> None:
        """See `Encoder.start`."""
        self._check_start(request, running=bool(self._counts[request]), count=count)
        held = self._held[request]
        features = held() if held is not None else None
        if features is not None:
            features.detach()
        cuda = self._engine.cuda
        with cuda.active(), cuda.errors(f"TensorRT cannot run {self._name}"):
            self._lanes[request].launch(count)
        self._counts[request] = count

    def fit(self, count: int) -> int:
        """See `Encoder.fit`; filling up costs nothing worth a second batch here."""
        return min(count, self.max_batch)

    def listen(self, finished: Callable[[int], None]) -> bool:  # noqa: ARG002 - the contract's signature
        """See `Encoder.listen`; a GPU tells nobody, so one has to wait for it."""
        return False

    def done(self, request: int) -> bool:
        """See `Encoder.done`."""
        self._check_started(request)
        with self._engine.cuda.active(), self._engine.cuda.errors(f"TensorRT cannot run {self._name}"):
            return self._lanes[request].done()

    def wait(self, request: int) -> NDArray[np.float32]:
        """See `Encoder.wait`; what numpy is asked to do with the features reads them from the device."""
        self._check_started(request)
        count, self._counts[request] = self._counts[request], 0
        lane = self._lanes[request]
        with self._engine.cuda.active(), self._engine.cuda.errors(f"TensorRT cannot run {self._name}"):
            lane.wait()
        features = DeviceFeatures(self._engine, lane.device[FEATURES].address, (count, *self._shape))
        self._held[request] = weakref.ref(features)
        return cast("NDArray[np.float32]", features)

    def close(self) -> None:
        """See `Encoder.close`; features that are still held are copied down first."""
        for held in self._held:
            features = held() if held is not None else None
            if features is not None:
                features.detach()
        with self._engine.cuda.active():
            for lane in self._lanes:
                lane.close()
        self._lanes.clear()
        self._engine.close()

    def _check_started(self, request: int) -> None:
        if not self._counts[request]:
            raise ValueError(f"encoder request {request} was not started")
