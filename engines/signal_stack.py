"""The thread's alternate signal stack (sigaltstack(2)), kept as it was where a library puts up one of its own."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """stack_t of Linux."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def own_signal_stack() -> Iterator[None]:
    """Undo what the block does to this thread's signal stack.

    OpenVINO's CPU plugin puts up a stack of the least size that AMX allows. Python's handlers run on it and need more:
    with OpenVINO 2026.4 on CPython 3.11, a signal to a thread that had compiled and run two models ended the process
    with SIGSEGV.
    """
    if sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None)
    before = _Stack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)
