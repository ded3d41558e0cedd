"""The command `vidpipe`: what becomes of a user's errors, of Ctrl-C, and of streams that are closed or full."""

from __future__ import annotations

import errno
import os
import resource
import sys

_MOST_OPEN_FILES = 65536
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def main() -> None:
    """Run the command line; a user's error becomes one line on stderr and exit status 1."""
    # a core dump holds the cameras' passwords
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _open_many_files()
    open_standard_streams()
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)


def open_standard_streams() -> None:
    """Put nothing in the place of a standard stream that is closed: else the next file opened would be taken for it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # has the lowest number that is free: this one
            os.set_inheritable(nowhere, True)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _open_many_files() -> None:
    """The soft limit is 1024 for the sake of select(2), which nothing here uses; connections of strangers fill it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _run() -> None:
    # this takes a moment, in which Ctrl-C may come
    from engines.errors import VidpipeError
    from pipeline.cli.commands import app
    from pipeline.cli.log import tell

    try:
        app()
    except VidpipeError as error:
        tell(str(error))
        sys.exit(1)
    except BrokenPipeError:
        # the reader of our output left, as `head` does
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno in _SCARCE:
            tell(f"the system has no room ({error.strerror}): raise ulimit -n, free memory or name fewer cameras")
            sys.exit(1)
        if error.errno not in _FULL:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still in the buffer of stdout
        tell(f"{error.filename or 'the output'} could not be written: {error.strerror}")
        sys.exit(1)
