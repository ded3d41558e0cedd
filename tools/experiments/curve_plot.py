"""The plot of `memory_curve.py`: one line for each family, and where an alarm or a clip would look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def draw(ages_s: Sequence[float], curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Accuracy over the age of what must be remembered, as SVG or PNG by the path's suffix."""
    import matplotlib as mpl  # noqa: PLC0415 - optional

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, curve in curves.items():
        axes.plot(ages_s, curve, marker="o", markersize=3, label=name)
    axes.axhline(0.5, color="0.6", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.legend()
    figure.savefig(path)
    plt.close(figure)
