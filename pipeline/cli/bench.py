"""`vidpipe bench`: what this machine carries, beside what it could carry at best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    model: Annotated[str, typer.Argument(help="A bundle's name or folder.")] = "scene",
    rates: Annotated[str | None, typer.Option(help="Sampling rates, such as 8,15; else the model's own.")] = None,
    backend: Annotated[str, typer.Option(help="auto, or a back end's name.")] = "auto",
    precision: Annotated[str, typer.Option(help="Of the encoder: auto, f32, bf16 or f16.")] = "auto",
    video: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A recording of your own camera (H.264); else the test scene.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=2.0, help="Length of one trial.")] = 15.0,
    most: Annotated[int, typer.Option(min=1, max=256, help="Most cameras to try.")] = 256,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    chart: Annotated[Path | None, typer.Option(metavar="PNG", help="Write a chart to this file.")] = None,
) -> None:
    """Measure decoder, encoder and step by themselves, then how many RTSP cameras the whole pipeline carries.

    Takes about five minutes for each rate; use the machine for nothing else meanwhile.

    Example: vidpipe bench scene --chart bench.png
    """
    import importlib.util
    import signal
    import sys
    import tempfile

    import msgspec
    from rich.console import Console
    from rich.text import Text

    from engines.bundle import load_bundle
    from engines.errors import MissingExtraError

    for package in ("psutil", "matplotlib") if chart else ("psutil",):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("vidpipe bench", package, "bench")
    from pipeline.bench.chart import draw
    from pipeline.bench.report import Plan, run_bench
    from pipeline.bench.table import show
    from pipeline.bench.video import own_video, scene_video

    # so that SIGTERM ends what was started here as well
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bundle = load_bundle(model)
    plan = Plan(model, backend, _precision(precision), _numbers(rates) or (bundle.manifest.input.fps,), seconds, most)
    told = Console(stderr=True, markup=False)
    with tempfile.TemporaryDirectory() as folder, told.status("preparing the video") as status:
        shown = scene_video(Path(folder)) if video is None else own_video(video)
        # lines where there is no terminal to show what is going on
        tell = status.update if told.is_terminal else told.print
        report = run_bench(bundle, shown, plan, lambda text: tell(Text(text)))
    if chart is not None:
        draw(report, chart)
    if json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        show(report, Console(markup=False))


def _precision(text: str) -> str:
    from engines.errors import ConfigError

    allowed = ("auto", "f32", "bf16", "f16")
    if text not in allowed:
        raise ConfigError(f"--precision is {text!r}; allowed are {', '.join(allowed)}")
    return text


def _numbers(text: str | None) -> tuple[float, ...]:
    from engines.errors import ConfigError

    try:
        numbers = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise ConfigError(f"--rates is {text!r}; it must be numbers with commas between, such as 8,15") from error
    if any(not 0 < number <= 240 for number in numbers):
        raise ConfigError(f"--rates is {text!r}; each must be above 0 and at most 240")
    return numbers
