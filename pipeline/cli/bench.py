"""`vidpipe bench`: what this machine carries, beside what it could carry at best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    model: Annotated[str, typer.Argument(help="A bundle's name or folder.")] = "scene",
    rates: Annotated[str | None, typer.Option(help="Sampling rates, such as 8,15; else the model's own.")] = None,
    backend: Annotated[str, typer.Option(help="auto, or a back end's name.")] = "auto",
    seconds: Annotated[float, typer.Option(min=2.0, help="Length of one trial.")] = 15.0,
    most: Annotated[int, typer.Option(min=1, max=512, help="Most cameras to try.")] = 64,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    chart: Annotated[Path | None, typer.Option(metavar="PNG", help="Write a chart to this file.")] = None,
) -> None:
    """Measure decoder, encoder and step by themselves, then how many RTSP cameras the whole pipeline carries.

    Example: vidpipe bench scene --chart bench.png
    """
    import importlib.util
    import tempfile

    import msgspec
    from rich.console import Console

    from engines.bundle import load_bundle
    from engines.errors import MissingExtraError

    if importlib.util.find_spec("psutil") is None:
        raise MissingExtraError("vidpipe bench", "psutil", "bench")
    from pipeline.bench.report import Plan, draw, run_bench, show
    from pipeline.bench.video import record_scene

    bundle = load_bundle(model)
    plan = Plan(model, backend, _numbers(rates) or (bundle.manifest.input.fps,), seconds, most)
    told = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, told.status("recording the test scene") as status:
        video = record_scene(Path(folder) / "scene.mp4")
        report = run_bench(bundle, video, plan, status.update)
    if chart is not None:
        draw(report, chart)
    if json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        show(report, Console())


def _numbers(text: str | None) -> tuple[float, ...]:
    from engines.errors import ConfigError

    try:
        numbers = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise ConfigError(f"--rates is {text!r}; it must be numbers with commas between, such as 8,15") from error
    if any(not 0 < number <= 240 for number in numbers):
        raise ConfigError(f"--rates is {text!r}; each must be above 0 and at most 240")
    return numbers
