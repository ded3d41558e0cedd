"""The table of faults in a document, between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faults.verdict import Row

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"


def table(rows: Sequence[Row], circumstances: str) -> str:
    """Markdown: one line per fault."""
    lines = ["| | fault | expected | measured | verdict |", "|---|---|---|---|---|"]
    lines += [f"| {r.id} | {r.fault} | {r.expected} | {r.measured} | {r.verdict} |" for r in rows]
    return "\n".join([*lines, "", circumstances])


def replace_table(path: Path, rows: Sequence[Row], circumstances: str) -> None:
    """Put the table between the marks of a document.

    Raises:
        ValueError: the document lacks the marks.
    """
    text = path.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no {BEGIN} ... {END}: put the two lines where the table belongs")
    path.write_text(f"{head}{BEGIN}\n{table(rows, circumstances)}\n{END}{tail}")
