"""The plot of `memory_curve.py`: how long each family remembers, and what a window of 16 frames is good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

CHANCE = 0.5
SHORT = "#b03a2e"
BOUNDED = ("tcn", "transformer")
TICKS = {
    0.5: "0.5 s",
    1: "1 s",
    2: "2 s",
    4: "4 s",
    8: "8 s",
    16: "16 s",
    32: "32 s",
    64: "1 min",
    128: "2 min",
    300: "5 min",
}


def draw(ages_s: Sequence[float], curves: Mapping[str, Sequence[float]], windows: str, path: Path) -> None:
    """Accuracy over the age of what must be remembered, as SVG or PNG by the path's suffix; `windows` is red."""
    import matplotlib as mpl  # noqa: PLC0415 - optional

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "vidpipe"  # the same figures give the same file
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, 4.4), layout="constrained")
    colors = iter(plt.get_cmap("tab10").colors)
    ranked = sorted(curves, key=lambda name: -sum(curves[name]))
    for name in ranked:
        style, width, color = _style(name, windows)
        axes.plot(ages_s, curves[name], style, linewidth=width, color=color or next(colors), label=name)
    axes.axhline(CHANCE, color="0.5", linewidth=0.8)
    axes.text(ages_s[0], CHANCE - 0.012, "chance", color="0.4", fontsize=8, va="top")
    axes.set_xscale("log")
    shown = {age: text for age, text in TICKS.items() if age <= ages_s[-1]}
    axes.set_xticks(list(shown), list(shown.values()))
    axes.minorticks_off()
    axes.set_ylim(0.42, 1.02)
    axes.set_xlabel("time since the last cue, at 8 frames a second")
    axes.set_ylabel("right answers")
    axes.set_title("What memory buys: was the last cue a 3 or a 7?", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)
    plt.close(figure)


def _style(name: str, windows: str) -> tuple[str, float, str]:
    """Line, width and, where it must stand out, colour: a receptive field that ends is dashed."""
    if name == windows:
        return "-", 3.0, SHORT
    return ("--" if name in BOUNDED else "-"), 1.6, ""
