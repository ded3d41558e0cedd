"""How plots look: legible on light and dark alike, as SVG that takes its ink from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engines.errors import MissingExtraError

BLUE, ORANGE, GREEN, RED, GREY = "#3b82c4", "#e0812f", "#3d9a63", "#d0534a", "#8b929c"
PALETTE = (BLUE, ORANGE, GREEN, "#9a6bc2", "#c2a02c", "#4aa6a6", "#c76a94", "#7d8b3a")
_INK = "#0a0b0c"  # becomes the colour of the page's text


@contextmanager
def canvas(width: float, height: float, name: str) -> Iterator[Any]:
    """A matplotlib figure of so many inches, in the report's style; `name` keeps ids apart in one page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context  # noqa: PLC0415 - optional
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError("the report of an evaluation", "matplotlib", "evaluate") from error
    style = {
        "svg.fonttype": "none", "svg.hashsalt": name, "font.size": 11, "axes.spines.top": False,
        "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "grid.linewidth": 0.6, "grid.color": GREY,
        "legend.frameon": False, "axes.axisbelow": True,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
    }  # fmt: skip
    with rc_context(style):
        yield Figure(figsize=(width, height), layout="constrained")


def svg_of(figure: Any, alt: str) -> str:
    """The figure as an SVG element to put into a page; `alt` says what is to be seen."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{alt}"', 1)
