"""The bell: what a capture process rings for each frame, and what ends its parent's wait.

Whether a descriptor blocks is a property of the open file description, which processes share that have inherited it
(open(2)): a capture process that a hostile stream has taken over can switch it. So each camera has a bell of its own,
and its parent never writes into one that a capture process holds, and reads by a description that none of them has.
"""

from __future__ import annotations

import os
from contextlib import suppress

_AT_ONCE = 65536
_RING = b"."


class Bell:
    """A pipe. `rope_fd` may be inherited by a capture process; `fileno` can be read once somebody has rung."""

    def __init__(self) -> None:
        self._fd, self.rope_fd = os.pipe()
        os.set_blocking(self._fd, False)
        os.set_blocking(self.rope_fd, False)

    def fileno(self) -> int:
        """For selectors."""
        return self._fd

    def ring(self) -> None:
        """Never waits; from any thread or signal handler, also once the bell is closed."""
        ring(self.rope_fd)

    def heard(self) -> bool:
        """Whether it was rung since the last call, however often."""
        try:
            return bool(os.read(self._fd, _AT_ONCE))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Give both ends back."""
        rope, self.rope_fd = self.rope_fd, -1
        os.close(self._fd)
        os.close(rope)


def ring(rope_fd: int) -> None:
    """Ring a bell whose rope this process has inherited."""
    with suppress(OSError):  # a full pipe rings as well, and one that is closed needs no ringing
        os.write(rope_fd, _RING)


def own_description(fd: int) -> int:
    """Another descriptor for reading the same pipe, which never blocks, whoever holds `fd`; for processes of one user.

    Where the system has no /proc, it is a mere copy.
    """
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        copy = os.dup(fd)
        os.set_blocking(copy, False)
        return copy
