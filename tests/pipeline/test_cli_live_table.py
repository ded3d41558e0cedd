"""A table on a terminal that is stopped, slow, dumb or closed."""

from __future__ import annotations

import signal
import threading
from typing import IO, cast

import pytest
from rich.console import Console
from rich.text import Text
from terminals import terminal

from pipeline.cli.live_table import LiveTable
from pipeline.cli.terminal import Terminal, can_redraw


def console_on(fd: int, **settings: str) -> Console:
    return Console(
        file=cast("IO[str]", Terminal(fd, "utf-8")), width=60, highlight=False, _environ={"TERM": "xterm", **settings}
    )


def test_what_is_said_scrolls_above_a_table_that_is_renewed():
    numbers = iter(range(1000))
    with terminal() as shown:
        with LiveTable(console_on(shown.fd), lambda: Text(f"number {next(numbers)}"), 0.01) as table:
            shown.read_until("number 3")
            table.say("an event")
            seen = shown.read_until("number 9")
        rest = shown.read_on()
    assert seen.count("an event") + rest.count("an event") == 1
    assert rest.endswith("\x1b[?25h"), "the cursor is back"
    assert table.lost == 0


def test_a_stopped_terminal_holds_up_nobody_and_shows_the_newest_when_it_goes_on():
    newest = ["old"]
    with terminal() as shown, LiveTable(console_on(shown.fd), lambda: Text(newest[0]), 0.01) as table:
        shown.read_until("old")
        shown.stop()
        for number in range(3000):
            table.say(f"event {number};")
            table.renew()
        newest[0] = "newest"
        assert table.lost > 1000
        shown.go_on()
        seen = shown.read_until("newest")
    assert "event 0;" in seen
    assert f"{table.lost} lines were lost" in seen + "".join(seen.split("\r\n"))


def test_the_end_does_not_wait_for_a_stopped_terminal_for_ever():
    with terminal() as shown:
        with LiveTable(console_on(shown.fd), lambda: Text("x" * 50), 0.01) as table:
            shown.read_until("x")
            shown.stop()
            table.say("y")
        left = [thread for thread in threading.enumerate() if thread.name == "table"]
        shown.go_on()
        shown.read_until("\x1b[?25h")
    for thread in left:
        thread.join(10.0)
        assert not thread.is_alive()


def test_a_terminal_that_is_closed_asks_for_an_end_in_order():
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        with terminal() as shown, LiveTable(console_on(shown.fd), lambda: Text("x"), 0.01):
            shown.read_until("x")
            shown.hang_up()
            assert asked.wait(10.0)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("term", "moves"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(term, moves):
    with terminal() as shown:
        assert can_redraw(console_on(shown.fd, TERM=term)) is moves
