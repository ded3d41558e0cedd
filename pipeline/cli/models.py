"""`vidpipe models`: which bundles there are, what they say and how good they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from engines.catalogue import CatalogueEntry


def models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Names or folders of bundles; all shipped if none.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the bundles as JSON, one a line.")] = False,
) -> None:
    """List model bundles: labels, rate, input, memory per camera, metrics, and whether they are intact.

    Exits with 1 when a named bundle is missing or damaged.

    Example: vidpipe models
    """
    import msgspec

    from engines.catalogue import catalogue

    entries = catalogue(names or None)
    for entry in entries:
        typer.echo(msgspec.json.encode(entry).decode() if json else "\n".join(_lines(entry)))
    if names and not all(entry.intact for entry in entries):
        raise typer.Exit(1)


def _lines(entry: CatalogueEntry) -> Iterator[str]:
    if not entry.intact:
        yield f"{entry.name}: damaged or missing: {entry.problem}"
        return
    yield f"{entry.name} {entry.version}, {entry.family}, intact"
    if entry.summary:
        yield f"  {entry.summary}"
    yield f"  labels   {', '.join(entry.labels)}"
    yield f"  input    {entry.width}x{entry.height} at {entry.fps:g} frames/s"
    if entry.further:
        beside = (f"{each.name}[{each.size}] (at most {each.max_age_s:g} s old)" for each in entry.further)
        yield f"  beside   {', '.join(beside)}"
    clips = f"{entry.clip_length_s:g} s long, one each {entry.clip_stride_s:g} s"
    yield f"  clips    {clips}; warm after {entry.warm_up_s:g} s"
    yield f"  state    {entry.state_bytes:,} bytes per camera"
    yield f"  metrics  {', '.join(_figures(entry.metrics)) or 'none recorded'}"
    yield f"  size     {entry.size_bytes / 1e6:.2f} MB in {entry.folder}"


def _figures(metrics: Mapping[str, float]) -> Iterator[str]:
    """Each figure, with its interval where `NAME_low` and `NAME_high` stand beside it."""
    for name, value in metrics.items():
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        if not name.endswith(("_low", "_high")):
            yield f"{name} {value:.4g}" + ("" if low is None or high is None else f" ({low:.3g} to {high:.3g})")
