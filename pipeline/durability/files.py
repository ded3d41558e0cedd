"""The files of checkpoints: three per camera, each replaced whole, so that one is always good.

Two are written in turn. The third is the newest that was synced: a file system may replace a file by one whose content
is not on the disk yet, and after a power failure that one is empty.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SLOTS = 3
_MOST_BYTES = 1 << 28
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass
class _Files:
    """One camera's files: `new` is written, then takes the place of a slot; the numbers of two slots are remembered."""

    new: Path
    slots: tuple[Path, ...]
    written: int = _SLOTS - 1  # last
    synced: int = _SLOTS - 1

    def next(self) -> int:
        """The slot to replace: neither the one that was written last nor the one that is on the disk for certain."""
        return next(slot for slot in range(_SLOTS) if slot not in (self.written, self.synced))


class CheckpointFiles:
    """The checkpoints in one folder, which is made when it is first needed. Raises OSError as the disk does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # made once: a path interns its parts, and those of each second let CPython's table of strings grow by megabytes
        self._files: dict[str, _Files] = {}

    def write(self, camera: str, data: bytes) -> None:
        """Replace the oldest of the camera's files. Not on the disk before `sync`, but safe from a kill."""
        files = self._files_of(camera)
        slot = files.next()
        try:
            self._fill(files.new, data)
            os.replace(files.new, files.slots[slot])  # noqa: PTH105 - one name for all that touches the disk
        except OSError:
            with suppress(OSError):
                os.unlink(files.new)  # noqa: PTH108 - gives a full disk its space back
            raise
        files.written = slot

    def sync(self, camera: str) -> None:
        """Bring the file that was written last onto the disk: with `sync_names` it outlives a power failure."""
        files = self._files_of(camera)
        _sync(files.slots[files.written])
        files.synced = files.written

    def sync_names(self) -> None:
        """Bring the folder onto the disk."""
        _sync(self.folder)

    def paths(self, camera: str) -> list[Path]:
        """The camera's files, in no order; they need not exist."""
        return list(self._files_of(camera).slots)

    def _fill(self, new: Path, data: bytes) -> None:
        try:
            _fill(new, data)
        except FileNotFoundError:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _fill(new, data)

    def _files_of(self, camera: str) -> _Files:
        known = self._files.get(camera)
        if known is None:
            slots = tuple(self.folder / f"{camera}.{slot}.state" for slot in range(_SLOTS))
            known = self._files[camera] = _Files(self.folder / f"{camera}.new", slots)
        return known


def _fill(path: Path, data: bytes) -> None:
    file = os.open(path, _NEW, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
    finally:
        os.close(file)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def content(path: Path) -> bytes:
    """What a file holds, as far as a checkpoint can be large."""
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)
