"""Tables on a terminal: one that is closed meanwhile, and one that is narrow."""

import io
import os
import signal
import sys
from pathlib import Path
from typing import IO, cast

import pytest
from operations_messages import prediction
from rich.console import Console
from terminals import terminal

from pipeline.cli import screen
from pipeline.cli.terminal import Terminal


@pytest.fixture
def asked():
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


def on_terminal(fd: int) -> Console:
    return Console(file=cast("IO[str]", Terminal(fd, "utf-8")))


def test_a_terminal_that_is_closed_asks_once_for_an_end_in_order(asked):
    with terminal() as shown:
        console = on_terminal(shown.fd)
        console.print("one")
        assert shown.read_until("one")
        shown.hang_up()
        console.print("two")
        console.print("three")
        assert asked == [signal.SIGTERM]
        assert str(Path(f"/proc/self/fd/{shown.fd}").readlink()) == os.devnull, "what others write goes nowhere too"


def test_at_the_end_nobody_is_asked():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever handles it no more cannot be asked
    try:
        with terminal() as shown:
            shown.hang_up()
            on_terminal(shown.fd).print("one")
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_terminal_of_another_alphabet_gets_what_it_can_show():
    with terminal() as shown:
        console = Console(file=cast("IO[str]", Terminal(shown.fd, "ascii")), width=100, force_terminal=True)
        with screen.LiveScreen(console) as table:
            table.show(prediction("a", label="r\xe9sum\xe9"))
        seen = shown.read_on()
    assert seen.isascii()
    assert "r?sum?" in seen


def test_names_are_no_markup_and_lines_of_the_log_stand_above_the_table(monkeypatch):
    with terminal() as shown:
        monkeypatch.setattr("sys.stdout", os.fdopen(os.dup(shown.fd), "w"))
        monkeypatch.setenv("TERM", "xterm")
        with screen.open_screen(json=False) as table:
            table.show(prediction("a", label="[red]"))
            table.write("vidpipe: something [odd] :smile:")
        sys.stdout.close()
        seen = shown.read_on()
    assert "[red]" in seen
    assert "vidpipe: something [odd] :smile:" in seen


@pytest.mark.parametrize(
    ("width", "bars", "figures"),
    [
        (100, True, ("6.0 ms", "0-2 s", "0.90")),
        (80, False, ("6.0 ms", "0-2 s", "0.90")),
        (60, False, ("0.90",)),
        (40, False, ()),
    ],
)
def test_a_table_that_is_too_wide_leaves_its_bars_out_then_figures_and_never_a_name(width, bars, figures):
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    with screen.LiveScreen(console) as table:
        table.show(prediction("the-car-park-1", label="left_behind"))
    shown = console.file.getvalue()
    assert ("█" in shown) is bars
    assert all(text in shown for text in ("the-car-par", "connecting", "left_behind"))
    assert ("the-car-park-1" in shown) is (width > 40), "a long name is cut, figures are not"
    assert {figure for figure in ("0-2 s", "0.90", "6.0 ms") if figure in shown} == set(figures)
