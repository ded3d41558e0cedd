"""How `vidpipe top` looks: a table that is renewed on a terminal, plain lines elsewhere, JSON for programs."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol

import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.cli.live_table import LiveTable
from pipeline.cli.terminal import can_redraw, open_console
from pipeline.cli.writer import LineWriter
from pipeline.operations.overview import UNHEARD

if TYPE_CHECKING:
    from types import TracebackType

    from pipeline.operations.overview import CameraFigures, Overview

_CALM = {"running": "green", "connecting": "yellow", "waiting_first_frame": "yellow", "finished": "cyan"}
_COLUMNS = ("camera", "state", "rate", "age", "p50", "p99", "dropped", "damaged", "resets", "reconnects")
_NUMBERS = ("rate", "age", "p50", "p99", "dropped", "damaged")
_SHORT = {"dropped": "drops", "damaged": "bad", "reconnects": "reconn", "waiting_first_frame": "waiting"}
_LEFT_OUT = {72: {"age", "p50", "damaged"}, 52: {"dropped", "resets"}}  # on terminals of fewer columns
_OTHER_LINES = 8  # of the screen: heading, frame, and some details
_WIDE = 110  # columns; below, reasons and shares are left out


class View(Protocol):
    """Shows an overview again and again; a context manager."""

    live: bool

    def show(self, overview: Overview, missed: int) -> None:
        """Show it as it stands; `missed` messages never came."""
        ...

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_view(target: str, *, json: bool, live: bool) -> View:
    """JSON lines where asked for, a table on a terminal, else plain lines. `live`: the table is renewed in place."""
    console = open_console()
    if json or not can_redraw(console):
        return LineView(json=json)
    return TableView(console, target, live=live)


class LineView:
    """One line per camera, or one JSON object for all."""

    live = False

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._writer = LineWriter()

    def show(self, overview: Overview, missed: int) -> None:
        """Print the figures."""
        time = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._json:
            report = {"time": time, "cameras": overview.figures(), "alarms": overview.alarms, "missed": missed}
            self._writer.write(msgspec.json.encode(report).decode())
            return
        for figures in overview.figures():
            self._writer.write(line_of(figures))
        for alarm in overview.alarms:
            self._writer.write(f"alarm: {alarm}")

    def __enter__(self) -> LineView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()


class TableView:
    """A table on a terminal."""

    def __init__(self, console: Console, target: str, *, live: bool) -> None:
        self.live = live
        self._console = console
        self._target = target
        self._content: RenderableType = Text(f"listening at {target}")
        self._table = LiveTable(console, lambda: self._content, None) if live else None

    def show(self, overview: Overview, missed: int) -> None:
        """Draw it, in place where the view is live."""
        most = self._console.height - _OTHER_LINES if self.live else None
        self._content = render(overview, self._target, missed, width=self._console.width, most=most)
        if self._table is not None:
            self._table.renew()
        else:
            self._console.print(self._content)

    def __enter__(self) -> TableView:
        if self._table is not None:
            self._table.__enter__()
            self._table.renew()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._table is not None:
            self._table.__exit__(kind, error, trace)


def line_of(figures: CameraFigures) -> str:
    """A camera as one line for people and grep."""
    cells = dict(zip(_COLUMNS[2:], _cells(figures), strict=True))
    detail = f"  ({figures.detail})" if figures.detail else ""
    return f"{figures.camera:12} {figures.state:12} " + "  ".join(f"{k} {v}" for k, v in cells.items()) + detail


def render(
    overview: Overview, target: str, missed: int, *, width: int = _WIDE, most: int | None = None
) -> RenderableType:
    """The table of all cameras for a terminal of `width` columns, with what is wrong below it.

    Where there are more than `most`, those that run well are left out first.
    """
    wide = width >= _WIDE
    columns = [name for name in _COLUMNS if all(width >= limit or name not in out for limit, out in _LEFT_OUT.items())]
    rows = overview.figures()
    cut = len(rows) - most if most is not None else 0
    running = sum(row.state == "running" for row in rows)
    lost = f", {missed} messages lost on the way" if missed else ""
    table = _empty_table(columns, wide=wide)
    shown = rows if cut <= 0 else sorted(rows, key=lambda row: row.state == "running")[: max(1, most or 0)]
    for row in shown:
        state = Text(row.state if wide else _SHORT.get(row.state, row.state), style=_CALM.get(row.state, "red"))
        cells = dict(zip(_COLUMNS[2:], _cells(row) if wide else _short_cells(row), strict=True))
        table.add_row(row.camera, state, *(cells[name] for name in columns[2:]))
    details = [
        Text(f"{row.camera}: {row.detail}", style="red" if row.state == UNHEARD else "dim")
        for row in rows
        if row.detail
    ]
    alarms = [Text(f"alarm: {alarm}", style="bold red") for alarm in overview.alarms]
    head = Text(f"{target}: {running} of {len(rows)} cameras running{lost}", style="bold")
    more = [Text(f"and {len(rows) - len(shown)} more", style="dim")] if len(shown) < len(rows) else []
    return Group(head, table if rows else Text("nothing heard yet", style="dim"), *more, *alarms, *details)


def _empty_table(columns: list[str], *, wide: bool) -> Table:
    table = Table(box=box.ROUNDED if wide else box.SIMPLE_HEAD, padding=(0, 0, 0, 1), show_edge=wide)
    for name in columns:
        number = name in _NUMBERS or (not wide and name in ("resets", "reconnects"))
        whole = number or (not wide and name != "camera")  # a long name gives way, figures do not
        table.add_column(name if wide else _SHORT.get(name, name), justify="right" if number else "left", no_wrap=whole)
    return table


def _short_cells(row: CameraFigures) -> list[str]:
    rate, age, p50, p99, *_ = (cell.removesuffix(" ms") for cell in _cells(row))
    resets = sum(number for reason, number in row.resets.items() if reason != "start")
    return [rate, age, p50, p99, *map(str, (row.dropped, row.damaged, resets, sum(row.reconnects.values())))]


def _cells(row: CameraFigures) -> list[str]:
    return [
        "-" if row.rate_hz is None else f"{row.rate_hz:.1f}/s",
        "-" if row.frame_age_s is None else _age(row.frame_age_s),
        "-" if row.latency_p50_ms is None else f"{row.latency_p50_ms:.1f} ms",
        "-" if row.latency_p99_ms is None else f"{row.latency_p99_ms:.1f} ms",
        _share(row.dropped, row.dropped + row.processed),
        str(row.damaged),
        _reasons({reason: number for reason, number in row.resets.items() if reason != "start"}),
        _reasons(row.reconnects),
    ]


def _age(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)" if part else "0"


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {number}" for reason, number in counts.items()) or "0"
