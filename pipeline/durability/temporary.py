"""A state folder for one run: it goes with the process, and what processes that were killed have left goes first."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "vidpipe-state-"
_LOCK, _NEW_LOCK = "lock", "lock.new"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of mode 0700 in the system's place for such, removed when it is left.

    Raises:
        OSError: it cannot be made.
    """
    _sweep()
    with ExitStack() as stack:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        lock = os.open(path / _NEW_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, lock)
        with suppress(OSError):  # a file system without locks: it will never count as left behind
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # it bears its name from when it is locked on: without the name, nobody takes the folder for a stale one
            (path / _NEW_LOCK).rename(path / _LOCK)
        yield path


def _sweep() -> None:
    """Remove this user's folders whose locks nobody holds."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and _is_own(entry):
                _remove_if_stale(Path(entry.path))


def _is_own(entry: os.DirEntry[str]) -> bool:
    """Whether nobody else can have made it, or put anything into it."""
    with suppress(OSError):
        status = entry.stat(follow_symlinks=False)
        return (
            stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
        )
    return False


def _remove_if_stale(path: Path) -> None:
    with suppress(OSError), ExitStack() as stack:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
