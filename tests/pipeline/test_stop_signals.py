"""Signals: what SIGHUP means before, while and after vidpipe runs, with a terminal and without."""

from __future__ import annotations

import signal

import pytest

from pipeline import stop_signals as module
from pipeline.stop_signals import hang_ups_kept, stop_signals


@pytest.fixture
def terminal(monkeypatch):
    """Whether there is one, as a list that a test changes."""
    there = [False]
    monkeypatch.setattr(module, "_has_terminal", lambda: there[0])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield there
    signal.signal(signal.SIGHUP, before)


def test_a_reload_that_is_asked_for_too_early_is_kept_for_later(terminal):
    reloads: list[str] = []
    with hang_ups_kept() as kept:
        signal.raise_signal(signal.SIGHUP)
        with stop_signals(lambda: None, lambda: reloads.append("reload")) as stopped:
            signal.raise_signal(signal.SIGHUP)
            assert not stopped()
        signal.raise_signal(signal.SIGHUP)
    assert kept == [signal.SIGHUP] * 2
    assert reloads == ["reload"]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_terminal_that_is_closed_means_the_end_at_any_time(terminal):
    terminal[0] = True
    with hang_ups_kept() as kept:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, "it is left as it was"
        with stop_signals(lambda: None, lambda: None) as stopped:
            terminal[0] = False
            signal.raise_signal(signal.SIGHUP)
            assert stopped()
    assert not kept
