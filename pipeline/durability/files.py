"""The files of checkpoints: two per camera, written in turn, each replaced whole, so that one is always good."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_SLOTS = 2
_MOST_BYTES = 1 << 28
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class CheckpointFiles:
    """The checkpoints in one folder, which is made when it is first needed. Raises OSError as the disk does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._turns: dict[str, int] = {}

    def write(self, camera: str, data: bytes) -> None:
        """Replace the older of the camera's two files. Not on the disk before `sync`, but safe from a kill."""
        turn = self._turns.get(camera, 0)
        new = self.folder / f"{camera}.new"
        try:
            self._fill(new, data)
            os.replace(new, self._path(camera, turn))  # noqa: PTH105 - one name for all that touches the disk
        except OSError:
            with suppress(OSError):
                os.unlink(new)  # noqa: PTH108 - gives a full disk its space back
            raise
        self._turns[camera] = (turn + 1) % _SLOTS

    def sync(self, camera: str) -> None:
        """Bring the file that was written last onto the disk: it is there even after a power failure."""
        _sync(self._path(camera, (self._turns.get(camera, 0) - 1) % _SLOTS))

    def sync_names(self) -> None:
        """Bring the folder onto the disk."""
        _sync(self.folder)

    def paths(self, camera: str) -> list[Path]:
        """The camera's files, in no order; they need not exist."""
        return [self._path(camera, turn) for turn in range(_SLOTS)]

    def _fill(self, new: Path, data: bytes) -> None:
        try:
            _fill(new, data)
        except FileNotFoundError:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _fill(new, data)

    def _path(self, camera: str, turn: int) -> Path:
        return self.folder / f"{camera}.{turn}.state"


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
