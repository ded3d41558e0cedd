"""The publisher's epoch: a number that grows with every start, so that an old publisher is never believed again."""

from __future__ import annotations

import logging
import time
from pathlib import Path

_log = logging.getLogger(__name__)


def next_epoch(folder: Path) -> int:
    """A number above all earlier ones: milliseconds since 1970, or one more than the last where the clock stood back.

    The last one is kept in `folder`; a folder that cannot be written only costs the memory of it.
    """
    path = folder / "epoch"
    epoch = max(time.time_ns() // 1_000_000, _last(path) + 1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(str(epoch))
    except OSError as error:
        _log.warning("the epoch is not remembered: %s cannot be written (%s)", folder, error.strerror)
    return epoch


def _last(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
