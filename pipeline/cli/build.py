"""`vidpipe build`: compile a model for this machine, verify it, and refuse what does not verify."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from engines.build import BuildReport
    from engines.precision import Candidate, PrecisionChoice


def build(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundle's name or folder.")],
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino, onnxruntime or torch.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="Of the encoder: auto measures and remembers; f32; tensorrt f16, openvino bf16 or f16.")
    ] = "auto",
    batch: Annotated[int, typer.Option(min=1, max=256, help="Most pictures in one batch (inference.max_batch).")] = 8,
    cameras: Annotated[int, typer.Option(min=1, help="Most cameras at once.")] = 16,
    steps: Annotated[int, typer.Option(min=8, help="Frames of the longest camera in the verification.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Compile a model for this machine into the cache, try it in a child process, and verify it as `verify` does.

    Times the encoder in each precision that the back end has; later starts take the fastest whose answers are as good.

    Exits with 1 when a check fails; the model is then refused on that back end until it is built again and passes.

    Example: vidpipe build scene
    """
    # BLAS threads would spin against the engine's own; numpy reads this when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import msgspec

    from engines.build import build as compile_bundle
    from engines.bundle import load_bundle
    from pipeline.cli.log import log_to_stderr
    from pipeline.cli.tables import print_table, waiting

    log_to_stderr()
    bundle = load_bundle(model)
    with waiting(f"building {bundle.name}") as tell:
        report = compile_bundle(
            bundle, backend, precision=precision, max_batch=batch, cameras=cameras, steps=steps, progress=tell
        )
    if json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        typer.echo("\n".join(_built(report)))
        if report.choice and len(report.choice.candidates) > 1:
            print_table(_table(report.choice))
        typer.echo("\n".join(_judged(report)))
    if not report.passed:
        raise typer.Exit(1)


def _built(report: BuildReport) -> Iterator[str]:
    model = f"{report.bundle} {report.version} ({report.sha[:12]})"
    yield f"{model} on {report.backend} {report.backend_version}, {report.device}"
    yield f"  why        {report.why}"
    precisions = f"encoder {report.precision}, step f32"
    yield f"  compiled   {precisions}, batches up to {report.max_batch}, {report.cameras} cameras"
    seconds = f"{report.compile_seconds:.1f} s{' in f32' if report.choice else ''}"
    yield f"             in {seconds}, with a try in a child process where the back end may crash"


def _table(choice: PrecisionChoice) -> Table:
    from pipeline.cli.tables import new_table

    table = new_table("precision", f"ms a frame, {choice.requests} x {choice.batch}", "max diff", "changed", "verdict")
    for each in choice.candidates:
        time = "" if each.frame_ms is None else f"{each.frame_ms:.3f}"
        table.add_row(each.precision, time, *_found(each), f"{'taken' if each.taken else 'no'}: {each.reason}")
    return table


def _found(candidate: Candidate) -> tuple[str, str]:
    check = candidate.check
    return (f"{check.max_difference:.1e}", f"{check.decisions_changed}/{check.decisions}") if check else ("", "")


def _judged(report: BuildReport) -> Iterator[str]:
    checks = [*report.verification.checks, *([report.precision_check] if report.precision_check else [])]
    failed = [check for check in checks if not check.passed]
    yield f"  verified   {len(checks) - len(failed)} of {len(checks)} checks passed"
    for check in failed:
        yield f"  FAILED     {check.check} against {check.against}: {check.max_difference:.1e} {check.note}".rstrip()
    yield "ready: vidpipe run starts without building" if report.passed else "refused: vidpipe run will not use it here"
