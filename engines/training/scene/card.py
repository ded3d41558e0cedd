"""The card of a bundle: what the model is for, how good it was when measured, and where it ends."""

from __future__ import annotations

from engines.manifest import Manifest
from engines.training.scene.recipe import Recipe

CARD = """# {name} {version}

{summary}

Labels: {labels}. The clip's label is what holds at its end. `loitering` means that the same person has been in view
for over 6 s; `left_behind` that a person has gone and something they brought still stands there. Where several
apply, `left_behind` wins over `loitering`, `loitering` over `passing`, and that over `idle`. No single picture tells
them apart.

## What it is
A CNN finds people and luggage on a grid; one LSTM remembers each place, a second one the whole scene (family
`{family}`). Input {width}x{height} BGR at {fps:g} frames/s. Its state is carried from frame to frame for as long as
the stream lasts.

## How good it is
Measured on {scenes:.0f} scenes of {seconds:g} s with seeds that no training used, {frame} at {rate:g} frames/s{codec}:

| figure | value |
|---|---|
{figures}

"near change": clips that end within 1 s of a change of the label; the first figure leaves them out. An event is right
when it overlaps a true run of the same label by 0.3 or more (intersection over union). "after 60 s": one question a
case, 60 s after the person who brought the thing has gone.

## How it was trained
`vidpipe train` with the recipe kept in `manifest.yaml` (`training.recipe`): {minutes:.0f} minutes on {threads} cores
for everything but the judging (wall time; the machine did other work as well). Its data come from vidpipe's own
generator: no real person is in it.

## Where it ends
It knows the built-in test scene and nothing else. On a real camera its answers mean nothing: train a model of your own.
"""


def card(about: Manifest, recipe: Recipe) -> str:
    """The card as Markdown, all figures taken from the manifest."""
    how, metrics = recipe.evaluation, about.metrics
    counts = ("scenes", "clips", "left_behind_after_60s_cases")
    rows = [f"| {name.replace('_', ' ')} | {value:.3f} |" for name, value in metrics.items() if name not in counts]
    rows += [f"| {name.replace('_', ' ')} | {metrics[name]:.0f} |" for name in counts]
    return CARD.format(
        name=about.name,
        version=about.version,
        summary=about.summary,
        labels=", ".join(f"`{label}`" for label in about.labels),
        family=about.family,
        width=about.input.width,
        height=about.input.height,
        fps=about.input.fps,
        scenes=metrics["scenes"],
        seconds=how.seconds,
        frame=f"{how.width}x{how.height}",
        rate=how.fps,
        codec=f", through H.264 at {how.h264_kbit} kbit/s" if how.h264_kbit else ", uncompressed",
        figures="\n".join(rows),
        minutes=about.training["minutes"],
        threads=about.training["threads"],
    )
