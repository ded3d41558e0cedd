"""`vidpipe build`: compile a model for this machine, verify it, and refuse what does not verify."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.build import BuildReport


def build(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundle's name or folder.")],
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino, onnxruntime or torch.")] = "auto",
    precision: Annotated[str, typer.Option(help="Of the encoder: f32; tensorrt f16, openvino bf16 or f16.")] = "f32",
    batch: Annotated[int, typer.Option(min=1, max=256, help="Most pictures in one batch (inference.max_batch).")] = 8,
    cameras: Annotated[int, typer.Option(min=1, help="Most cameras at once.")] = 16,
    steps: Annotated[int, typer.Option(min=8, help="Frames of the longest camera in the verification.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Compile a model for this machine into the cache, try it in a child process, and verify it as `verify` does.

    Exits with 1 when a check fails; the model is then refused on that back end until it is built again and passes.

    Example: vidpipe build scene
    """
    # BLAS threads would spin against the engine's own; numpy reads this when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import msgspec

    from engines.build import build as compile_bundle
    from engines.bundle import load_bundle
    from pipeline.cli.log import log_to_stderr
    from pipeline.cli.tables import waiting

    log_to_stderr()
    bundle = load_bundle(model)
    with waiting(f"building {bundle.name}") as tell:
        report = compile_bundle(
            bundle, backend, precision=precision, max_batch=batch, cameras=cameras, steps=steps, progress=tell
        )
    typer.echo(msgspec.json.encode(report).decode() if json else "\n".join(_lines(report)))
    if not report.passed:
        raise typer.Exit(1)


def _lines(report: BuildReport) -> Iterator[str]:
    model = f"{report.bundle} {report.version} ({report.sha[:12]})"
    yield f"{model} on {report.backend} {report.backend_version}, {report.device}"
    yield f"  why        {report.why}"
    precisions = f"encoder {report.precision}, step f32"
    yield f"  compiled   {precisions}, batches up to {report.max_batch}, {report.cameras} cameras"
    yield f"             in {report.compile_seconds:.1f} s, with a try in a child process where the back end may crash"
    checks = [*report.verification.checks, *([report.precision_check] if report.precision_check else [])]
    failed = [check for check in checks if not check.passed]
    yield f"  verified   {len(checks) - len(failed)} of {len(checks)} checks passed"
    for check in failed:
        yield f"  FAILED     {check.check} against {check.against}: {check.max_difference:.1e} {check.note}".rstrip()
    yield "ready: vidpipe run starts without building" if report.passed else "refused: vidpipe run will not use it here"
