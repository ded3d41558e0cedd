"""The NVIDIA GPUs of this machine, asked of the driver itself (CUDA driver API), without any package."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NAME_BYTES = 128


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as the driver describes it."""

    name: str
    capability: tuple[int, int]  # compute capability, e.g. (9, 0)
    memory_bytes: int


@dataclass(frozen=True)
class Driver:
    """The newest CUDA version that the driver serves, e.g. `13.0`, the GPUs, and why there are none if so."""

    cuda: str
    gpus: tuple[Gpu, ...]
    problem: str = ""


def read_driver(library: Any = None) -> Driver:
    """Ask the driver; `library` stands in for it in tests."""
    if library is None:
        try:
            library = ctypes.CDLL(_LIBRARY)
        except OSError:
            return Driver("", (), f"there is no NVIDIA driver here ({_LIBRARY} is not installed)")
    status = library.cuInit(0)
    if status:
        return Driver("", (), f"the NVIDIA driver does not start (cuInit says {status}): see nvidia-smi")
    version, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    library.cuDeviceGetCount(ctypes.byref(count))
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    gpus = tuple(_gpu(library, index) for index in range(count.value))
    return Driver(cuda, gpus, "" if gpus else "the NVIDIA driver finds no GPU: see nvidia-smi")


@cache
def driver() -> Driver:
    """What `read_driver` says, asked once per process."""
    return read_driver()


def no_gpu() -> str:
    """Why nothing can run on an NVIDIA GPU here; empty where it can."""
    return driver().problem


def _gpu(library: Any, index: int) -> Gpu:
    device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_size_t()
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, _NAME_BYTES, device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(value.value)
    return Gpu(name.value.decode(errors="replace"), (capability[0], capability[1]), memory.value)
