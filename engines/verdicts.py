"""Models that did not verify on a back end of this machine: remembered, and refused from then on."""

from __future__ import annotations

import hashlib
import json

from engines.cache import cache_folder, recall, remember
from engines.engine import Backend
from engines.errors import BackendError
from engines.gpu import driver
from engines.probe import release

_FOLDER = "verdicts"


def condemn(backend: Backend, model: bytes, precision: str, reason: str) -> None:
    """Remember that this graph is not to be used on this back end, in its version and with this GPU."""
    remember(cache_folder() / _FOLDER, _key(backend, model, precision), reason)


def acquit(backend: Backend, model: bytes, precision: str) -> None:
    """Forget an earlier verdict."""
    (cache_folder() / _FOLDER / _key(backend, model, precision)).unlink(missing_ok=True)


def verdict(backend: Backend, model: bytes, precision: str) -> str | None:
    """Why the graph was condemned on this back end; None where it was not."""
    return recall(cache_folder() / _FOLDER, _key(backend, model, precision))


def refuse_condemned(key: str, backend: Backend, model: bytes, precision: str, name: str) -> None:
    """Raise BackendError where the graph was condemned on the back end called `key`."""
    reason = verdict(backend, model, precision)
    if reason is not None:
        raise BackendError(
            f"{name} did not verify on {backend.title} {release(backend)} in {precision} here ({reason}): use another "
            f"back end, or another version of it and then `vidpipe build --backend {key}`"
        )


def _key(backend: Backend, model: bytes, precision: str) -> str:
    hardware = repr(driver().gpus) if backend.unusable else ""
    facts = [hashlib.sha256(model).hexdigest(), backend.target, release(backend), precision, hardware]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
