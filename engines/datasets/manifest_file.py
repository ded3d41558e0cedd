"""The CSV manifest: one row per clip, or per marked interval of a long video."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.datasets.intervals import Marked, to_spans
from engines.datasets.labelled import LabelledVideo, Span
from engines.datasets.naming import check_label, meant
from engines.errors import DataError

NEEDED = ("path", "label")
OPTIONAL = ("split", "group", "start", "end", "inputs")


@dataclass(frozen=True)
class Row:
    """One row as it was written; `where` names it in messages."""

    where: str
    path: Path
    written: str
    label: str
    split: str
    group: str
    start_s: float
    end_s: float
    inputs: Path | None = None


def read_manifest(path: Path, labels: Sequence[str], background: str) -> tuple[tuple[LabelledVideo, ...], bool]:
    """The videos in the order in which they are first named, and whether their groups are given.

    Raises:
        DataError: it names the row, what is wrong with it and what to do.
    """
    by_video: dict[Path, list[Row]] = {}
    for row in _rows(path, labels):
        by_video.setdefault(row.path.resolve(), []).append(row)
    if not by_video:
        raise DataError(f"{path} holds no rows: write one row per clip below the header")
    every = [row for rows in by_video.values() for row in rows]
    _all_or_none(every, "split")
    grouped = _all_or_none(every, "group")
    return tuple(_video(rows, background) for rows in by_video.values()), grouped


def _rows(path: Path, labels: Sequence[str]) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            reader.fieldnames = _columns(path, reader.fieldnames or ())
            for record in reader:
                where = f"{path}, line {reader.line_num}"
                if None in record:
                    raise DataError(f"{where}: there are more values than columns: put a value with commas in quotes")
                yield _row(path, where, {key: (value or "").strip() for key, value in record.items()}, labels)
    except OSError as error:
        raise DataError(f"the manifest {path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the manifest {path} is not a CSV file in UTF-8: {error}") from error


def _columns(path: Path, header: Sequence[str]) -> list[str]:
    names = [name.strip().lower() for name in header]
    for needed in NEEDED:
        if needed not in names:
            found = f"its first line is {', '.join(header)!r}" if header else "it is empty"
            raise DataError(
                f"the manifest {path} has no column {needed!r}{meant(needed, names)}, {found}: "
                "its first line must name the columns path and label, separated by commas"
            )
    twice = next((name for name in names if name in (*NEEDED, *OPTIONAL) and names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"the manifest {path} has the column {twice!r} twice: remove one")
    return names


def _row(manifest: Path, where: str, record: dict[str, str], labels: Sequence[str]) -> Row:
    written, label = record["path"], record["label"]
    if not written:
        raise DataError(f"{where}: the path is empty: give every row the path of a video")
    check_label(label, labels, where)
    video = manifest.parent / written
    if not video.is_file():
        found = "is a folder" if video.is_dir() else "does not exist"
        raise DataError(f"{where}: the video {video} {found}: paths are relative to the manifest's own folder")
    start_s = _seconds(record.get("start", ""), 0.0, "start", where)
    end_s = _seconds(record.get("end", ""), math.inf, "end", where)
    if end_s <= start_s:
        raise DataError(f"{where}: the end, {end_s:g} s, is not after the start, {start_s:g} s: swap or correct them")
    beside = _inputs(manifest, where, record.get("inputs", ""))
    return Row(where, video, written, label, record.get("split", ""), record.get("group", ""), start_s, end_s, beside)


def _inputs(manifest: Path, where: str, written: str) -> Path | None:
    """The file with the video's further inputs."""
    path = manifest.parent / written
    if written and not path.is_file():
        raise DataError(f"{where}: the inputs {path} do not exist: paths are relative to the manifest's own folder")
    return path if written else None


def _seconds(text: str, default: float, column: str, where: str) -> float:
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: the {column} is {text!r}: give seconds from the video's start, such as 12.5")
    if value < 0:
        raise DataError(f"{where}: the {column} is {text} s: times count from the video's start and are not negative")
    return value


def _all_or_none(rows: Sequence[Row], field: str) -> bool:
    """Whether all rows have it; rows without it among others with it would be left out or counted wrong silently."""
    without = [row for row in rows if not getattr(row, field)]
    if without and len(without) < len(rows):
        where = without[0].where
        raise DataError(f"{where}: the {field} is empty while other rows have one: give all rows one, or none")
    return not without


def _video(rows: Sequence[Row], background: str) -> LabelledVideo:
    first = rows[0]
    for row in rows[1:]:
        for field in ("split", "group", "inputs"):
            value, before = getattr(row, field), getattr(first, field)
            if value != before:
                raise DataError(
                    f"{row.where}: {row.written} has the {field} {value!r}, but {before!r} in {first.where}: "
                    f"all intervals of one video share one {field}"
                )
    marked = [Marked(row.where, Span(row.start_s, row.end_s, row.label)) for row in rows]
    spans = to_spans(marked, background)
    return LabelledVideo(first.path, spans, first.group or first.written, first.split, first.written, first.inputs)
