"""`vidpipe doctor`: what this machine has, and what each back end could do on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from engines.doctor import DoctorReport


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
) -> None:
    """Say what this machine has: CPU, GPU, the version of every runtime, and which back end `auto` would take.

    Exits with 1 when no back end could run.

    Example: vidpipe doctor
    """
    import msgspec

    from engines.doctor import examine
    from pipeline.cli.tables import print_table

    report = examine()
    if json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        typer.echo("\n".join(_machine(report)) + "\n")
        print_table(_packages(report))
        typer.echo("")
        print_table(_backends(report))
        typer.echo(f"\nauto takes {report.auto or 'none'}: {report.why}")
    if not report.auto:
        raise typer.Exit(1)


def _machine(report: DoctorReport) -> Iterator[str]:
    machine, gpu, video = report.machine, report.gpu, report.video
    yield f"vidpipe  {report.vidpipe} on {machine.python}, {machine.system}"
    yield f"CPU      {machine.cpu}, {machine.cores} core(s) for this process, {machine.memory_bytes / 2**30:.1f} GiB"
    yield f"         {', '.join(machine.cpu_features) or 'no vector extensions known'}"
    yield f"GPU      {'; '.join(gpu.gpus) or gpu.problem}{f', driver for CUDA {gpu.cuda}' if gpu.cuda else ''}"
    if video is None:
        yield "video    OpenCV is not installed: pip install opencv-python-headless"
    else:
        ffmpeg = ", ".join(f"{name} {number}" for name, number in video.ffmpeg.items()) or "none"
        yield f"video    OpenCV {video.opencv} with {', '.join(video.backends)}"
        yield f"         its FFmpeg: {ffmpeg}; its OpenSSL: {video.openssl or 'none'}"
    yield f"TLS      Python's: {report.python_openssl or 'none'}"


def _packages(report: DoctorReport) -> Table:
    from pipeline.cli.tables import new_table

    table = new_table("package", "version", "for")
    for package in report.packages:
        missing = "" if package.version else f" ({package.install})"
        table.add_row(
            package.name,
            package.version or "missing",
            package.purpose + missing,
            style="" if package.version else "dim",
        )
    return table


def _backends(report: DoctorReport) -> Table:
    from pipeline.cli.tables import new_table

    table = new_table("back end", "here", "precision", "")
    for backend in report.backends:
        cells = ("ready" if backend.ready else "no", ", ".join(backend.precisions), backend.finding)
        table.add_row(backend.name, *cells, style="" if backend.ready else "dim")
    return table
