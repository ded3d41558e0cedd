"""A capture process, as `pipeline.capture.process` starts it: one connection to one camera, and then it is gone."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from pipeline.capture.confinement import confine
from pipeline.capture.connection import Connection
from pipeline.capture.decoder_log import write_through
from pipeline.capture.link import Link
from pipeline.capture.protocol import decode_order, encode

if TYPE_CHECKING:
    from types import TracebackType

_PR_SET_PDEATHSIG = 1


def main(socket_fd: int) -> None:
    """Run until the source ends, the parent says stop (SIGTERM) or dies."""
    _die_with_parent()
    confine()
    write_through()
    sys.excepthook = _fail
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    link = Link.inherited(socket_fd)
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):
        order = decode_order(link.recv_bytes())
        # what is loaded stays: no collection has to look at it again
        gc.freeze()
        ended = Connection(order, link).run()
        link.send_bytes(encode(ended))
    # the interpreter's own shutdown could wait for a decoder thread that hangs
    os._exit(0)


def _leave(_signal: int, _frame: object) -> NoReturn:
    sys.exit(0)


def _fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> NoReturn:
    """What nobody foresaw: say it and be gone at once, since the parent hears both when the connection closes."""
    sys.__excepthook__(kind, error, trace)
    sys.stderr.flush()
    os._exit(1)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
