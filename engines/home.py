"""Paths as people write them, with `~` for their home."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def user_path(text: str | Path) -> Path:
    """The path with a leading `~` or `~user` replaced; as it is where there is no such user, for it may be a name."""
    with suppress(RuntimeError):
        return Path(text).expanduser()
    return Path(text)
