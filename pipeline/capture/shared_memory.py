"""Memory without a name that two processes share, and that neither of them can cut short."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack


def anonymous_memory(size: int) -> int:
    """A descriptor of so many zero bytes, which other processes may inherit: a Linux memfd, elsewhere an unlinked file.

    Raises:
        OSError: the system has no memory or descriptors left.
    """
    with ExitStack() as undo:
        fd = _nameless_file()
        undo.callback(os.close, fd)
        os.ftruncate(fd, size)
        if hasattr(os, "memfd_create"):
            # whoever reads memory that was cut short is ended by SIGBUS (memfd_create(2))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        undo.pop_all()
    return fd


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("vidpipe-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    import tempfile  # noqa: PLC0415 - not on Linux, where each capture process would pay for it

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
