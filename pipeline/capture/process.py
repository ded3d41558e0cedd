"""The parent's side of a capture process: start it, hear it, end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipeline.capture.bell import own_description
from pipeline.capture.confinement import environment
from pipeline.capture.link import Link
from pipeline.capture.protocol import CREDIT, Ended, EndReason, decode_notice, encode
from pipeline.redaction import credentials_of, redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.capture.protocol import Notice, Order

# `-c` puts the working directory first on the path, where a user's own `pipeline` folder would win
_BOOT = "import sys; sys.path[:] = [p for p in sys.path if p]; from pipeline.capture.worker import main; main({fd})"
_ROOT = Path(__file__).parents[2]
_LAST_WORDS_BYTES = 4096
_MOST_NEWS = 64  # of one process at a time: one gone mad must not keep its parent listening
_SIGNALS = {each.value: each.name for each in signal.Signals}
_KILLED_S = 2.0  # a process that was killed takes milliseconds
_DYING_S = 0.05  # from closing its files to being gone, a process takes microseconds, Python's own end longer


class CaptureProcess:
    """One running capture process. The order travels over a socket, so no address shows in the process list."""

    def __init__(self, order: Order, ring_fd: int, rope_fd: int) -> None:
        self._secrets = credentials_of(order.address)
        with ExitStack() as passed_on, ExitStack() as kept:
            self._link, theirs = Link.pair()
            kept.callback(self._link.close)
            passed_on.enter_context(theirs)
            log_in, log_out = os.pipe()
            passed_on.callback(os.close, log_in)
            passed_on.callback(os.close, log_out)
            os.set_blocking(log_out, False)
            self._log_fd = own_description(log_in)
            kept.callback(os.close, self._log_fd)
            self._child = subprocess.Popen(
                [sys.executable, "-c", _BOOT.format(fd=theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log_out,
                stderr=log_out,
                pass_fds=(theirs.fileno(), ring_fd, rope_fd, log_in),
                env=_environment(),
                start_new_session=True,
            )
            kept.pop_all()
        known = msgspec.structs.replace(order, ring_fd=ring_fd, rope_fd=rope_fd, log_fd=log_in)
        try:
            self._link.send_bytes(encode(known))
        except OSError:  # it is gone already
            self.end(0.0)
            raise

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    def fileno(self) -> int:
        """The socket to wait on for news."""
        return self._link.fileno()

    def news(self) -> Iterator[Notice]:
        """What it said since the last call; ends with `Ended` once it has left, whatever made it leave."""
        for _ in range(_MOST_NEWS):
            try:
                notice = decode_notice(self._link.recv_bytes())
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # it left without hearing a credit; what it said before is still there to be read
            except EOFError:
                notice = Ended(EndReason.CRASHED, self._obituary())
            except (OSError, msgspec.MsgspecError):
                notice = Ended(EndReason.CRASHED, "the capture process says what makes no sense")
            if isinstance(notice, Ended):
                yield Ended(notice.reason, redact(notice.detail, self._secrets))
                return
            yield notice

    def credit(self) -> None:
        """Tell a waiting source that there is room again."""
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):  # `news` tells of its end
            self._link.send_bytes(CREDIT)

    def end(self, grace_s: float = 0.5) -> None:
        """Ask it to leave, make it leave after `grace_s` seconds, and return when it is gone.

        One that a device or a network file system holds in the kernel does not go: it is left behind after a while.
        """
        self.ask_to_leave()
        try:
            self._child.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(_KILLED_S)
        self.close()

    def kill(self) -> None:
        """End it by force, without waiting; also where it is stopped."""
        if self._child.poll() is None:
            self._child.kill()

    def is_gone(self) -> bool:
        """Whether it has left, without waiting; it is no zombie from then on."""
        return self._child.poll() is not None

    def close(self) -> None:
        """Give back what is held here for a process that is gone."""
        self._link.close()
        os.close(self._log_fd)

    def ask_to_leave(self) -> None:
        """Send the signal and do not wait; `end` collects it."""
        if self._child.poll() is None:
            self._child.terminate()

    def _obituary(self) -> str:
        try:
            code = self._child.wait(_DYING_S)
        except subprocess.TimeoutExpired:
            return "the capture process closed its only connection and lived on"
        words = self._last_words()
        if code < 0:
            return f"the capture process was ended by {_SIGNALS.get(-code, f'signal {-code}')}"
        return f"the capture process ended with code {code}{': ' + words if words else ''}"

    def _last_words(self) -> str:
        try:
            text = os.read(self._log_fd, 1 << 16)[-_LAST_WORDS_BYTES:].decode(errors="replace")
        except BlockingIOError:
            return ""
        lines = [line for line in text.splitlines() if line.strip() and "OPENCV:FFMPEG" not in line]
        return lines[-1].strip() if lines else ""


def _environment() -> dict[str, str]:
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **environment(),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
