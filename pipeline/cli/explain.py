"""`vidpipe explain`: where a model with attention looked in a video, and what of its past it recalled."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.evaluation.attention import Attended


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundle's name or folder, of an attending family.")],
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.")],
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("attention.png"),
    start: Annotated[float, typer.Option(min=0.0, help="Show from this second on.")] = 0.0,
    end: Annotated[float, typer.Option(min=0.0, help="Show until this second; 0: to the end.")] = 0.0,
    pictures: Annotated[int, typer.Option(min=1, max=24, help="How many frames to show.")] = 8,
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino, onnxruntime or torch.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the weights too, one JSON object a frame.")] = False,
) -> None:
    """Draw what a model attended to: frames lit where it looked, which past steps it recalled, and what it said.

    The model watches the video from its beginning whatever is shown, since it remembers.

    Example: vidpipe explain runs/doors clip.mp4 --out looked.png
    """
    # BLAS threads would spin against the engine's own; numpy reads this when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from engines.bundle import load_bundle
    from engines.evaluation.attention import attended
    from engines.evaluation.attention_picture import draw_attention
    from pipeline.cli.log import log_to_stderr
    from pipeline.cli.tables import waiting

    log_to_stderr()
    bundle = load_bundle(model)
    with waiting(f"watching {video}"):
        found = attended(bundle, video, start_s=start, end_s=end or math.inf, backend=backend)
        draw_attention(found, bundle.manifest.labels, out, pictures=pictures, title=f"{bundle.name} on {video.name}")
    if json:
        for line in _lines(found, bundle.manifest.labels):
            typer.echo(line)
        return
    typer.echo(f"{out}: {len(found)} frames from {found.times_s[0]:.2f} s to {found.times_s[-1]:.2f} s")


def _lines(found: Attended, labels: tuple[str, ...]) -> Iterator[str]:
    import msgspec

    for index in range(len(found)):
        yield msgspec.json.encode(
            {
                "time_s": float(found.times_s[index]),
                "prob": dict(zip(labels, found.prob[index].tolist(), strict=True)),
                "spatial": found.spatial[index].tolist(),
                "temporal": found.temporal[index].tolist(),
            }
        ).decode()
