"""`vidpipe verify`: proof that a model streams as it was trained, on every back end that is here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from engines.comparison import Check, VerifyReport


def verify(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundle's name or folder.")],
    backend: Annotated[
        list[str] | None,
        typer.Option(help="tensorrt, openvino, onnxruntime or torch, can be repeated; else all that are here."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Of the encoder: f32, f16 or bf16, can be repeated; else all that run here."),
    ] = None,
    steps: Annotated[int, typer.Option(min=8, help="Frames of the longest camera.")] = 1000,
    cameras: Annotated[int, typer.Option(min=2, help="Cameras with state of their own.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the made-up pictures and arrivals.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Check that many cameras in random batches get what each would get alone, and back ends what float64 says.

    Exits with 1 when a check fails. `changed` counts decisions (of each step; for an encoder in a lower precision, of
    each clip); a control is wrong on purpose and has to differ.

    Example: vidpipe verify scene
    """
    # BLAS threads would spin against the engine's own; numpy reads this when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import msgspec

    from engines.bundle import load_bundle
    from engines.verify import verify as compare
    from pipeline.cli.log import log_to_stderr
    from pipeline.cli.tables import print_table, waiting

    log_to_stderr()
    bundle = load_bundle(model)
    with waiting(f"verifying {bundle.name}") as tell:
        report = compare(
            bundle, backend, steps=steps, cameras=cameras, seed=seed, precisions=precision or None, progress=tell
        )
    if json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        for name in dict.fromkeys(check.backend for check in report.checks):
            print_table(_table(name, [check for check in report.checks if check.backend == name]))
        typer.echo(_verdict(report))
        for sentence in report.not_compared:
            typer.echo(f"not compared with {sentence}")
    if not report.passed:
        raise typer.Exit(1)


def _table(backend: str, checks: list[Check]) -> Table:
    from pipeline.cli.tables import new_table

    table = new_table(backend, "against", "max diff", "limit", "changed", "verdict")
    for check in checks:
        table.add_row(
            check.check,
            check.against,
            f"{check.max_difference:.1e}",
            f"{'>' if check.must_differ else '<='} {check.limit:.0e}",
            f"{check.decisions_changed}/{check.decisions}" if check.decisions else "",
            _mark(check),
            style="" if check.passed else "yellow" if check.optional else "red",
        )
    return table


def _mark(check: Check) -> str:
    from engines.engine import FULL_PRECISION

    if check.passed and check.against == FULL_PRECISION:
        return "close"
    if check.passed:
        return "differs" if check.must_differ else "equal"
    if check.optional:
        return f"too coarse, not used {check.note}".rstrip()
    return f"FAILED {check.note}".rstrip()


def _verdict(report: VerifyReport) -> str:
    failed = sum(not (check.passed or check.optional) for check in report.checks)
    what = f"{report.bundle} {report.version} ({report.sha[:12]}), {report.cameras} cameras, {report.steps} steps"
    return f"{what}: {f'{failed} of {len(report.checks)} checks failed' if failed else 'verified'}"
