"""Tables on a terminal: one that is closed meanwhile, and one that is narrow."""

import io
import os
import signal
from pathlib import Path

import pytest
from operations_messages import prediction
from rich.console import Console

from pipeline.cli import screen
from pipeline.cli.terminal import open_console


class Closed(io.StringIO):
    """A terminal whose other end has gone."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")

    flush = write


@pytest.fixture
def asked(monkeypatch):
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


def test_a_terminal_that_is_closed_asks_once_for_an_end_in_order(asked, monkeypatch, tmp_path):
    fd = os.open(tmp_path / "terminal", os.O_CREAT | os.O_WRONLY)
    monkeypatch.setattr("sys.stdout", Closed(fd))
    console = open_console()
    console.print("one")
    console.print("two")
    assert asked == [signal.SIGTERM]
    assert str(Path(f"/proc/self/fd/{fd}").readlink()) == os.devnull, "the buffer has somewhere to go at the end"
    os.close(fd)


def test_at_the_end_nobody_is_asked(monkeypatch, tmp_path):
    fd = os.open(tmp_path / "terminal", os.O_CREAT | os.O_WRONLY)
    monkeypatch.setattr("sys.stdout", Closed(fd))
    monkeypatch.setattr("signal.getsignal", lambda _: signal.SIG_DFL)
    open_console().print("one")  # SIGTERM would end this test
    os.close(fd)


@pytest.mark.parametrize(("width", "bars"), [(100, True), (72, False)])
def test_a_table_that_is_too_wide_leaves_its_bars_out(width, bars):
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    with screen.LiveScreen(console) as table:
        table.show(prediction("the-car-park-1", label="left_behind"))
    shown = console.file.getvalue()
    assert ("█" in shown) is bars
    assert "left_behind" in shown
    assert ("the-car-park-1" in shown) is (width > 72), "a long name is cut, figures are not"
    assert all(figure in shown for figure in ("connecting", "0-2 s", "0.90", "6.0 ms"))
