"""Files that nobody else may read: made so, and refused where they are not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from engines.errors import KeysError

_MOST_BYTES = 16384
_OTHERS = 0o077


def make_private_folder(path: Path) -> None:
    """Make a folder with mode 0700, or check one that exists.

    Raises:
        KeysError: it cannot be made, or others can enter it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeysError(f"the folder {path} cannot be made ({error.strerror}): choose another one") from error
    check_private_folder(path)


def check_private_folder(path: Path) -> None:
    """See that only its owner can enter a folder.

    Raises:
        KeysError: it is missing, no folder, or others can enter it.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise KeysError(f"the key folder {path} cannot be read ({error.strerror}): vidpipe keys new NAME") from error
    if not stat.S_ISDIR(found.st_mode):
        raise KeysError(f"{path} is no folder: name a folder for keys, vidpipe keys new NAME makes it")
    if stat.S_IMODE(found.st_mode) & _OTHERS:
        raise KeysError(f"others can enter the key folder {path}: chmod 700 {path}")
    _check_owner(found, path)


def write_private(path: Path, text: str) -> None:
    """Make a file with mode 0600; it must not exist yet.

    Raises:
        KeysError: it exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise KeysError(f"{path} exists already: choose another name, or remove it first") from error
    except OSError as error:
        raise KeysError(f"{path} cannot be written ({error.strerror}): choose another place") from error


def replace_private(path: Path, text: str) -> None:
    """Put a new text in a file's place, all at once.

    Raises:
        KeysError: it cannot be written.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    write_private(new, text)
    try:
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise KeysError(f"{path} cannot be written ({error.strerror}): see to its folder") from error


def read_private(path: Path) -> str:
    """A file's text, where nobody but its owner can read it.

    Raises:
        KeysError: it is missing, readable by others, too large, or no text.
    """
    try:
        # what is opened is what is checked; not blocking, since it might be a pipe
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            _check_file(found, path)
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise KeysError(f"the key file {path} cannot be read ({error.strerror}): see vidpipe keys") from error
    if len(content) > _MOST_BYTES:
        raise KeysError(f"{path} is no key file: it is larger than {_MOST_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise KeysError(f"{path} is no key file: it holds no text") from error


def _check_file(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeysError(f"{path} is no file: name a key file, as vidpipe keys new writes it")
    if stat.S_IMODE(found.st_mode) & _OTHERS:
        raise KeysError(f"others can read the key file {path}: chmod 600 {path}, and make new keys if anyone has")
    _check_owner(found, path)


def _check_owner(found: os.stat_result, path: Path) -> None:
    if os.geteuid() not in (0, found.st_uid):
        raise KeysError(f"{path} belongs to another user, who could change it: chown it to the one who runs vidpipe")
