"""The state folder of one vidpipe process: private, and locked so that two processes never write into one."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_state_dir

from engines.errors import ConfigError
from engines.home import user_path
from pipeline.durability.temporary import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.config.schema import Config

_log = logging.getLogger(__name__)


def state_path(config: Config) -> Path | None:
    """Where the state lies: `state.folder`, else a folder of the user's that is named after `publish.bind`.

    None where neither says it: a port that the system chooses names no pipeline that somebody could come back to.
    """
    if config.state.folder is not None:
        return user_path(config.state.folder)
    if config.publish.bind.endswith(":*"):
        return None
    return Path(user_state_dir("vidpipe")) / re.sub(r"[^A-Za-z0-9.-]+", "-", config.publish.bind).strip("-")


@contextmanager
def state_folder(config: Config) -> Iterator[Path]:
    """The folder, made with mode 0700 and held by this process; a temporary one where `state_path` gives none.

    Raises:
        ConfigError: another vidpipe holds it, or the one that the configuration names cannot be made.
    """
    path = state_path(config)
    with ExitStack() as stack:
        lock = None
        if path is not None:
            try:
                lock = _held(path)
            except OSError as error:
                text = f"the state folder {path} cannot be used ({error.strerror})"
                if config.state.folder is not None:
                    raise ConfigError(f"{text}: set state.folder to one that can be written") from error
                _log.warning("%s: this run will not be remembered", text)
        if path is None or lock is None:
            yield stack.enter_context(temporary_folder())
            return
        stack.callback(os.close, lock)
        yield path


def _held(path: Path) -> int:
    """Make the folder and lock it for as long as the descriptor is open; OSError where either cannot be."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ConfigError(
            f"another vidpipe is running with the state folder {path}: stop it, or give this one another publish.bind "
            "or state.folder"
        ) from None
    except OSError:  # a file system without locks
        os.close(lock)
        raise
    return lock
