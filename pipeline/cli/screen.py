"""What a person sees of the stream: a live table on a terminal, plain lines elsewhere, JSON for programs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeVar

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from pipeline.cli.live_table import LiveTable
from pipeline.cli.log import tell
from pipeline.cli.terminal import can_redraw, open_console
from pipeline.cli.writer import LineWriter
from pipeline.operations.detail import detail_of
from pipeline.stream.messages import Event, Message, Prediction, Status, encode

_COLOURS = {"running": "green", "connecting": "yellow", "waiting_first_frame": "yellow", "finished": "cyan"}
_SHORT = {"waiting_first_frame": "waiting"}
_BAR = 6
_ANY_WIDTH = 1000
_COLUMNS = ("state", "now", "score", "clip", "memory", "rate", "latency")
_LEFT_OUT = ("memory", "latency", "clip", "rate", "score")  # one after the other, where a terminal is narrow
_NAME = 12  # columns that a camera's name keeps
_EVERY_S = 0.25


class Screen(Protocol):
    """Shows messages; a context manager."""

    def say(self, text: str) -> None:
        """Tell people something; programs are not told."""
        ...

    def show(self, message: Message) -> None:
        """Take one message."""
        ...

    def __enter__(self) -> Screen: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_screen(*, json: bool, status_as_json: bool = False, quiet: bool = False) -> Screen:
    """Nothing or JSON lines where asked for, a live table on a terminal, else plain lines."""
    if quiet:
        return SilentScreen()
    if json:
        return JsonScreen(status=status_as_json)
    console = open_console()
    return LiveScreen(console) if can_redraw(console) else PlainScreen()


class _LineScreen:
    """Lines on stdout, whoever reads them."""

    def __init__(self) -> None:
        self._writer = LineWriter()

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left."""
        self._writer.close()
        if self._writer.lost:
            tell(f"{self._writer.lost} lines were not printed: nobody read them, or there was no room")


S = TypeVar("S", bound=_LineScreen)


class JsonScreen(_LineScreen):
    """One message a line; heartbeats only where asked for."""

    def __init__(self, *, status: bool) -> None:
        super().__init__()
        self._status = status

    def say(self, text: str) -> None:
        """Nothing: only messages go to stdout."""

    def show(self, message: Message) -> None:
        """Print the message."""
        if self._status or not isinstance(message, Status):
            self._writer.write(encode(message, "json").decode())


class SilentScreen:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def show(self, message: Message) -> None:
        """Nothing."""

    def __enter__(self) -> SilentScreen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""


class PlainScreen(_LineScreen):
    """One line per clip, begin and end of an event, and change of state, for logs and pipes."""

    def __init__(self) -> None:
        super().__init__()
        self._states: dict[str, tuple[str, str]] = {}

    def say(self, text: str) -> None:
        """Print a line."""
        self._writer.write(text)

    def show(self, message: Message) -> None:
        """Print the message's line."""
        if isinstance(message, Status):
            state = (message.state, message.detail)
            if self._states.get(message.camera) == state:
                return
            self._states[message.camera] = state
        if not isinstance(message, Event) or message.type != "update":
            self.say(line_of(message))


def line_of(message: Message) -> str:
    """A message as one line for people."""
    if isinstance(message, Prediction):
        clip, best = message.clip, max(message.scores.values())
        warm = "" if message.state.warm else "  (warming up)"
        seconds = f"{clip.start:7.1f} - {clip.end:6.1f} s"
        took = f"{message.latency.get('total', 0) / 1e3:6.1f} ms"
        return f"{message.camera:12} clip  {seconds}  {message.label:12} {best:4.2f}  {took}{warm}"
    if isinstance(message, Event):
        seconds = f"{message.start:7.1f} - {message.end:6.1f} s"
        return f"{message.camera:12} event {seconds}  {message.label:12} {message.peak:4.2f}  {message.type}"
    detail = f": {detail_of(message)}" if message.detail else ""
    return f"{message.camera:12} {message.state}{detail}"


@dataclass
class _Row:
    status: Status | None = None
    heard_s: float = 0.0
    prediction: Prediction | None = None

    @property
    def state(self) -> str:
        return self.status.state if self.status else "connecting"

    @property
    def detail(self) -> str:
        """As of now: a wait for the next try counts down."""
        return detail_of(self.status, time.monotonic() - self.heard_s) if self.status else ""


class LiveScreen:
    """A table of all cameras, renewed four times a second, with events scrolling above it.

    It waits for nothing: where the terminal is stopped, the table is.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[str, _Row] = {}
        self._table = LiveTable(console, self._render, _EVERY_S)

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._table.say(Text(text, style="dim"))

    @property
    def lost(self) -> int:
        """Lines that the terminal was too slow for."""
        return self._table.lost

    def write(self, line: str) -> None:
        """Print a line of the log above the table, which it would damage otherwise."""
        self._table.say(Text(line))

    def show(self, message: Message) -> None:
        """Remember the message for the next renewal; events are printed soon."""
        row = self._rows.setdefault(message.camera, _Row())
        if isinstance(message, Prediction):
            row.prediction = message
        elif isinstance(message, Status):
            row.status, row.heard_s = message, time.monotonic()
        elif message.type != "update":
            self._table.say(_event_text(message))

    def _render(self) -> Group:
        if not self._rows:
            return Group(Text("nothing heard yet", style="dim"))
        rows = dict(self._rows)
        table = _draw(rows, _COLUMNS, bars=self._console.encoding.startswith("utf"))
        for number in range(len(_LEFT_OUT) + 1):
            if self._fits(table, max(map(len, rows))):
                break
            table = _draw(rows, [name for name in _COLUMNS if name not in _LEFT_OUT[:number]], bars=False)
        details = [Text(f"{name}: {text}", style="dim") for name, row in rows.items() if (text := row.detail)]
        return Group(table, *details)

    def _fits(self, table: Table, longest: int) -> bool:
        """Whether figures are whole and the longest name keeps enough to be known by."""
        options = self._console.options.update(width=_ANY_WIDTH)
        return self._console.measure(table, options=options).maximum <= self._console.width + max(0, longest - _NAME)

    def __enter__(self) -> LiveScreen:
        self._table.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.__exit__(kind, error, trace)


def _draw(rows: dict[str, _Row], columns: Sequence[str], *, bars: bool) -> Table:
    table = Table(box=box.ROUNDED, padding=(0, 0, 0, 1))
    for title in ("camera", *columns):
        number = title in ("clip", "memory", "rate", "latency")
        table.add_column(title, justify="right" if number else "left", no_wrap=title != "camera")
    for name, row in rows.items():
        state = Text(_SHORT.get(row.state, row.state), style=_COLOURS.get(row.state, "red"))
        cells: dict[str, str | Text] = {"state": state}
        cells.update(zip(_COLUMNS[1:], _cells(row.prediction, bars=bars), strict=True))
        table.add_row(name, *(cells[column] for column in columns))
    return table


def _cells(prediction: Prediction | None, *, bars: bool) -> list[str]:
    if prediction is None:
        return ["-"] * 6
    best = max(prediction.scores.values())
    bar = "█" * round(best * _BAR) + "░" * (_BAR - round(best * _BAR)) + " " if bars else ""
    return [
        prediction.label,
        f"{bar}{best:4.2f}",
        f"{prediction.clip.start:.0f}-{prediction.clip.end:.0f} s",
        f"{prediction.state.age_s:.0f} s" if prediction.state.warm else "warming",
        f"{prediction.clip.fps_effective:.1f}/s",
        f"{prediction.latency.get('total', 0) / 1e3:.1f} ms",
    ]


def _event_text(event: Event) -> Text:
    style = "bold yellow" if event.type == "begin" else "dim"
    until = f"{event.end:7.1f} s" if event.type == "end" else " " * 9
    text = f"{event.start:7.1f} -{until}  {event.camera}  {event.label} {event.type}  (peak {event.peak:.2f})"
    return Text(text, style=style)
