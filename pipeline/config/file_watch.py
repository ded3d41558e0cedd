"""Notices that a file has changed, once whoever writes it is done."""

from __future__ import annotations

from pathlib import Path

_Stamp = tuple[int, int, int] | None


class FileWatch:
    """Make it before the file is read, so that no change falls between. Without a file nothing ever changes."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._seen = self._settling = self._stamp()

    def is_changed(self) -> bool:
        """Whether it changed since it was read, and not again since the last look; true once for each change."""
        stamp = self._stamp()
        settled = stamp == self._settling
        self._settling = stamp
        if stamp is None or stamp == self._seen or not settled:
            return False
        self._seen = stamp
        return True

    def is_read(self) -> None:
        """It is about to be read, as it is now."""
        self._seen = self._stamp()

    def _stamp(self) -> _Stamp:
        """What tells one state of a file from another; None where there is none."""
        try:
            status = self._file.stat() if self._file is not None else None
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino) if status is not None else None
