"""What vidpipe remembers between runs on this machine; losing it costs time and nothing else."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import NamedTemporaryFile

from platformdirs import user_cache_path

_log = logging.getLogger("vidpipe.cache")


def cache_folder() -> Path:
    """Where vidpipe keeps what it can make again (on Linux `$XDG_CACHE_HOME/vidpipe` or `~/.cache/vidpipe`)."""
    return user_cache_path("vidpipe")


def recall(folder: Path, key: str) -> str | None:
    """The text kept under `key`, a plain file name; None where there is none or it cannot be read."""
    try:
        return (folder / key).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def remember(folder: Path, key: str, text: str) -> None:
    """Keep `text` under `key` for later runs; a folder that is full or read-only is a warning in the log."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # written beside and renamed, so that a reader never sees half of it
        with NamedTemporaryFile("w", encoding="utf-8", dir=folder, prefix=f".{key}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(text)
                file.flush()
                temporary.replace(folder / key)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        reason = error.strerror or str(error)
        _log.warning(
            "the cache folder %s cannot be written (%s), so the next start repeats this start's checks", folder, reason
        )
