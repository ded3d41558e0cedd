"""What a capture process takes from itself before it reads a byte from outside: memory, files, privileges, dumps."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

MEMORY_BYTES = 1 << 30
"""Private memory: measured are 0.08 GB for 640x360, 0.22 GB for 4K and 0.76 GB for 8192x8192 pictures."""

_OPEN_FILES = 64
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38  # linux/prctl.h

MEASURED = "VIDPIPE_MEASURED"
"""Variable of the environment: processes stay open to whoever measures their memory, as a bench does."""

_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    MEASURED,
)


def environment() -> dict[str, str]:
    """The variables that a capture process is started with; all others may hold the passwords of other cameras."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}


def confine() -> None:
    """Bound what this process may use, and bar it from new privileges, writing files and being dumped or traced.

    It keeps the user's right to read files and to connect anywhere: FFmpeg needs both.
    """
    _limit(resource.RLIMIT_DATA, MEMORY_BYTES)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)
    # the ring is mapped, and pipes have no size: neither counts
    _limit(resource.RLIMIT_FSIZE, 0)
    sys.dont_write_bytecode = True
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    hide()


def hide() -> None:
    """Let no other process of the same user read this one's environment or memory, or trace it (Linux only).

    For the parent too: a capture process without the passwords of other cameras could read them there.
    """
    if sys.platform == "linux" and not os.environ.get(MEASURED):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (least, least))
