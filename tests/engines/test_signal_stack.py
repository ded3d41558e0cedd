"""A signal to a process that runs OpenVINO: its handler must find a stack that is large enough."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from engines.signal_stack import own_signal_stack

LIBC = ctypes.CDLL(None)

MANY_SIGNALS = """
import signal
from engines.bundle import load_bundle
from engines.encoder import Encoder
from engines.temporal import Temporal

heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
bundle = load_bundle("scene")
encoder = Encoder.open(bundle, "openvino", max_batch=2)
temporal = Temporal.open(bundle, "openvino", capacity=2, max_batch=2)
row = temporal.pool.acquire("camera0")
for turn in range(20):
    encoder.start(0, 1)
    temporal.step([row], encoder.wait(0), [0.1], [1.0])
    if turn == 5:
        Encoder.open(bundle, "openvino", max_batch=2)
    signal.raise_signal(signal.SIGUSR1)
print(len(heard))
"""


class Stack(ctypes.Structure):
    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def put_up(memory: int | None, size: int) -> Stack:
    """Set this thread's stack (None: switch it off) and give the one before."""
    new, before = Stack(memory, 0 if memory else 2, size), Stack()
    assert LIBC.sigaltstack(ctypes.byref(new), ctypes.byref(before)) == 0
    return before


@pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack as Linux has it")
def test_what_a_library_puts_up_is_taken_down_again():
    own, foreign = (ctypes.create_string_buffer(1 << 17) for _ in range(2))
    before = put_up(ctypes.addressof(own), len(own))
    try:
        with own_signal_stack():
            put_up(ctypes.addressof(foreign), len(foreign))
        assert put_up(None, 0).sp == ctypes.addressof(own)
    finally:
        put_up(before.sp, before.size)


def test_signals_do_not_end_a_process_that_runs_openvino():
    done = subprocess.run([sys.executable, "-c", MANY_SIGNALS], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "20\n"), done.stderr
