"""TensorRT as it is installed here: the full one, else TensorRT-RTX, behind one name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from engines.errors import BackendError, MissingExtraError

PACKAGES = ("tensorrt", "tensorrt_rtx")  # in order of preference
TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}


@dataclass(frozen=True)
class TensorRt:
    """A module with TensorRT's Python names (8.6, 10, 11 or RTX), and what it is."""

    module: Any
    package: str  # the import name, one of PACKAGES
    version: str

    @property
    def title(self) -> str:
        """Name and version, as errors call it."""
        return f"{TITLES[self.package]} {self.version}"

    @property
    def major(self) -> int:
        """The major version of the TensorRT interface; RTX 1 has that of 11."""
        return 11 if self.portable else int(self.version.split(".")[0])

    @property
    def portable(self) -> bool:
        """Whether plans are built without looking at a GPU and finished for it when they are loaded."""
        return self.package == "tensorrt_rtx"


def load_trt(packages: tuple[str, ...] = PACKAGES) -> TensorRt:
    """Import the first of `packages` that is installed.

    Raises:
        MissingExtraError: none is installed.
        BackendError: one is installed and does not import, e.g. for a missing system library.
    """
    for package in packages:
        try:
            module = importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name == package:
                continue
            raise BackendError(f"{TITLES[package]} is installed but cannot be imported: {error}") from error
        except (ImportError, OSError) as error:
            reason = " ".join(str(error).split())
            raise BackendError(f"{TITLES[package]} is installed but cannot be imported: {reason}") from error
        return TensorRt(module, package, str(module.__version__))
    raise MissingExtraError("the back end tensorrt", "tensorrt", "tensorrt")
