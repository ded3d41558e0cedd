"""A picture of attention: frames lit where the network looked, what it recalled, and what it said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import MissingExtraError
from engines.evaluation.attention import Attended

DARK = 0.25
"""Brightness of what was not looked at."""


def draw_attention(
    attended: Attended, labels: Sequence[str], path: Path, *, pictures: int = 8, title: str = ""
) -> None:
    """Write a PNG: `pictures` frames spread over the time, the weights of the memory, and the probabilities.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise MissingExtraError("a picture of attention", "matplotlib", "evaluate") from error
    shown = np.unique(np.linspace(0, len(attended) - 1, pictures).round().astype(int))
    figure = Figure(figsize=(max(8.0, 1.9 * len(shown)), 6.0), layout="constrained")
    if title:
        figure.suptitle(title)
    halves: Any = figure.subfigures(2, 1, height_ratios=(2, 3))
    above, below = halves
    for axes, index in zip(above.subplots(1, len(shown), squeeze=False)[0], shown.tolist(), strict=True):
        _picture(axes, attended, index, labels)
    recalled, said = below.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _memory(below, recalled, attended)
    for place, label in enumerate(labels):
        said.plot(attended.times_s, attended.prob[:, place], label=label, linewidth=1.4)
    for index in shown.tolist():
        said.axvline(attended.times_s[index], color="grey", linewidth=0.5, linestyle=":")
    said.set(ylim=(-0.02, 1.02), ylabel="probability", xlabel="media time, s")
    said.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=110, format="png")


def lit(frame: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The frame as RGB, bright where its weights `[h, w]` are largest and dark where they are 0."""
    import cv2  # noqa: PLC0415 - only what sees pictures needs it

    share = weights / max(float(weights.max()), 1e-12)
    light = cv2.resize(share, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_LINEAR)
    bright = DARK + (1 - DARK) * np.clip(light, 0, 1)[..., None]
    return np.asarray(frame[..., ::-1] * bright, np.uint8)


def _picture(axes: Any, attended: Attended, index: int, labels: Sequence[str]) -> None:
    best = int(attended.prob[index].argmax())
    axes.imshow(lit(attended.frames[index], attended.spatial[index]))
    sharpest = attended.spatial[index].max() * attended.spatial[index].size
    axes.set_title(f"{attended.times_s[index]:.1f} s, {labels[best]} {attended.prob[index, best]:.2f}", fontsize=8)
    axes.set_xlabel(f"at most {sharpest:.1f} x an even share", fontsize=7)
    axes.set(xticks=[], yticks=[])


def _memory(figure: Any, axes: Any, attended: Attended) -> None:
    """How much of each past step was recalled, over the time: the newest at the bottom."""
    steps = attended.temporal.shape[1]
    times_s = attended.times_s
    half_s = (times_s[-1] - times_s[0]) / max(1, len(times_s) - 1) / 2 or 0.5
    extent = (times_s[0] - half_s, times_s[-1] + half_s, steps - 0.5, -0.5)
    newest_first = attended.temporal.T[::-1]
    most = float(np.quantile(newest_first, 0.98))  # the first steps have little to choose from, and would outshine all
    drawn = axes.imshow(newest_first, aspect="auto", extent=extent, cmap="magma", vmin=0, vmax=most)
    axes.invert_yaxis()
    axes.set_ylabel("steps ago")
    figure.colorbar(drawn, ax=axes, label="recalled", pad=0.01, extend="max")
