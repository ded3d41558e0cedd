"""Ctrl-C while a back end is imported ends the program, and is not taken for a back end that is missing."""

from __future__ import annotations

import signal
import threading

import pytest

from engines.engine import load_class
from engines.errors import BackendError
from engines.interrupts import interrupts_held

INTERRUPTED = """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    raise ImportError("initialization failed")
Engine = int
"""


@pytest.mark.parametrize("works", [True, False])
def test_an_import_that_is_interrupted_stops_the_program(tmp_path, monkeypatch, works):
    name = f"interrupted_{works}"
    (tmp_path / f"{name}.py").write_text(INTERRUPTED if works else f"{INTERRUPTED}\nraise ImportError('broken')")
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        load_class("A back end", f"{name}:Engine")
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_broken_without_ctrl_c_is_a_back_end_that_is_missing(tmp_path, monkeypatch):
    (tmp_path / "never_whole.py").write_text("raise ImportError('broken')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendError, match="broken"):
        load_class("A back end", "never_whole:Engine")


def test_signals_are_left_alone_where_nobody_is_interrupted():
    threads = []

    def elsewhere():
        with interrupts_held():
            threads.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert threads == [before]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_held():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
