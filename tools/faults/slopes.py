"""Slopes over hours that a few outliers cannot bend (Theil-Sen), and whether they are small enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

_MINUTE_S = 60.0
_CONFIDENCE = 0.95

Verdict = Literal["pass", "fail", "unclear"]


class Slope(msgspec.Struct, frozen=True):
    """Change per hour: the median of all slopes between two points, and the 95 % interval of that median."""

    per_hour: float
    low: float
    high: float
    points: int


def theil_sen(at_s: Sequence[float], values: Sequence[float], bin_s: float = _MINUTE_S) -> Slope:
    """Slope over the medians of bins of `bin_s` seconds: samples that lie closer are not independent of each other.

    Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968).

    Raises:
        ValueError: less than three bins hold a sample.
    """
    times, medians = binned(at_s, values, bin_s)
    if len(times) < 3:
        raise ValueError(f"a slope needs 3 bins of {bin_s:g} s with a sample, and there are {len(times)}")
    slope, _, low, high = stats.theilslopes(medians, times / 3600.0, _CONFIDENCE)
    return Slope(float(slope), float(low), float(high), len(times))


def binned(
    at_s: Sequence[float], values: Sequence[float], bin_s: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Middle and median of each bin that holds a sample."""
    times, found = np.asarray(at_s, np.float64), np.asarray(values, np.float64)
    bins = np.floor(times / bin_s).astype(np.int64)
    kinds = np.unique(bins)
    middles = np.array([(kind + 0.5) * bin_s for kind in kinds], np.float64)
    return middles, np.array([np.median(found[bins == kind]) for kind in kinds], np.float64)


def judge(slope: Slope, most_per_hour: float) -> Verdict:
    """Pass where the whole interval lies under the limit, fail where it lies above."""
    if slope.high <= most_per_hour:
        return "pass"
    return "fail" if slope.low > most_per_hour else "unclear"
