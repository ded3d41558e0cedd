"""Which vidpipe this is: a name that the configuration gives it, so that one is not taken for another."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config.schema import Config


def instance_of(config: Config) -> str:
    """A hash of what two vidpipes on one machine cannot share: where it publishes and keeps its state.

    It says nothing of either. Empty where the configuration leaves both to the system.
    """
    bind, folder = config.publish.bind, config.state.folder
    if folder is None and bind.endswith(":*"):
        return ""
    # as they are written: a service and whoever asks for its health may have different homes
    return hashlib.sha256(f"{bind}\n{folder or ''}".encode()).hexdigest()[:16]
