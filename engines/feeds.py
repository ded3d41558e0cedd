"""Checks that the arrays fed to an engine are the tensors its graph asks for."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engines.engine import Feeds, TensorSpec, shape_text
from engines.errors import BackendError


def check_feeds(name: str, specs: Iterable[TensorSpec], feeds: Feeds) -> None:
    """Compare `feeds` with the inputs of the model called `name`.

    Raises:
        BackendError: naming the tensor, what was fed and what is expected.
    """
    count = 0
    for spec in specs:
        array = feeds.get(spec.name)
        if array is None:
            raise BackendError(f"{name} needs the input {spec}, which was not fed: feed it by that name")
        if array.dtype != np.dtype(spec.dtype) or not spec.fits(array.shape):
            found = f"{array.dtype} {shape_text(array.shape)}"
            raise BackendError(f"{name} was fed {spec.name} as {found}, expected {spec.dtype} {shape_text(spec.shape)}")
        count += 1
    if count != len(feeds):
        unknown = sorted(feeds.keys() - {spec.name for spec in specs})
        raise BackendError(f"{name} has no input {', '.join(unknown)}: its inputs are {', '.join(map(str, specs))}")
