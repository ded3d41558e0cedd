"""Checks that an engine is fed the tensors that its graph asks for."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engines.engine import EngineOptions, Feeds, TensorSpec, shape_text
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


def check_batch(options: EngineOptions, fixed: int | None) -> None:
    """Compare the batch that the engine is opened for with the one `fixed` in the graph; None: the graph takes any.

    Raises:
        BackendError: the graph was exported for another batch.
    """
    if options.batch is not None and fixed not in (None, options.batch):
        raise BackendError(f"{options.name} has the fixed batch {fixed}: export it with any batch")
