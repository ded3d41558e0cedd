"""The result of an evaluation as one record, which `--json` prints and the report shows."""

from __future__ import annotations

from typing import Literal

import msgspec

from engines.evaluation.alarms import CurvePoint
from engines.evaluation.resampling import Figure

Verdict = Literal["better", "not shown", "worse", "not compared"]


class ModelFacts(msgspec.Struct, frozen=True):
    """Which model was judged, and where it ran."""

    name: str
    version: str
    sha256: str
    family: str
    labels: tuple[str, ...]
    fps: float
    width: int
    height: int
    clip_length_s: float
    clip_stride_s: float
    aggregate: str
    warm_up_s: float
    events: tuple[str, ...]
    backend: str


class SkippedFile(msgspec.Struct, frozen=True):
    """A file that was left out, and why."""

    path: str
    reason: str


class DataFacts(msgspec.Struct, frozen=True):
    """What it was judged on; `unit` says what one clip is, `groups` how many were resampled and what they are."""

    origin: str
    split: str
    videos: int
    clips: int
    unit: str
    frames: int
    seconds: float
    clips_of: dict[str, int]
    groups: int
    grouped: bool
    skipped: tuple[SkippedFile, ...]


class LabelScore(msgspec.Struct, frozen=True):
    """One label: clips where it is true, and how they fare."""

    label: str
    clips: int
    recall: Figure
    precision: Figure
    training_share: float | None


class Comparison(msgspec.Struct, frozen=True):
    """The model against the best baseline of each metric, on the same draws; differences are model minus baseline.

    `better`: ahead in both, and surely (95 % interval above 0) in one; `worse`: behind in one; `not shown`: neither.
    """

    verdict: Verdict
    sentence: str
    against: dict[str, str] = {}
    differences: dict[str, Figure] = {}


class Agreement(msgspec.Struct, frozen=True):
    """Stream mode against whole-sequence mode; `why` says why they were not compared."""

    compared: bool
    why: str = ""
    steps: int = 0
    largest_difference: float | None = None
    within_limit: bool | None = None
    same_decisions: bool | None = None
    decisions_changed: int = 0
    figures_equal: bool | None = None
    largest_figure_difference: float | None = None


class StreamScore(msgspec.Struct, frozen=True):
    """What the event figures are about.

    `joined`: all videos as one stream with its state carried, in an order drawn by the seed; else each on its own.
    """

    joined: bool
    seconds: float
    quiet_seconds: float
    events: int
    alarms: int
    false_alarms: int
    missed: int
    curve: dict[str, list[CurvePoint]]


class GroupScore(msgspec.Struct, frozen=True):
    """One group's clips, and how many of them are right."""

    group: str
    clips: int
    right: int


class Mistake(msgspec.Struct, frozen=True):
    """A clip that was called something else, surest first."""

    video: str
    start_s: float
    end_s: float
    truth: str
    decided: str
    probability: float
    probability_of_truth: float


class Bin(msgspec.Struct, frozen=True):
    """Clips whose top probability lies in `[low, high)`: how many, their mean, and how many are right."""

    low: float
    high: float
    clips: int
    confidence: float | None
    accuracy: float | None


class Evaluation(msgspec.Struct, frozen=True):
    """Everything `vidpipe evaluate` found out. Figures are by name; see docs/evaluation.md."""

    headline: str
    model: ModelFacts
    data: DataFacts
    figures: dict[str, Figure]
    baselines: dict[str, dict[str, Figure]]
    baselines_from: str
    comparison: Comparison
    agreement: Agreement
    labels: tuple[LabelScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[Bin, ...]
    stream: StreamScore | None
    groups: tuple[GroupScore, ...]
    mistakes: tuple[Mistake, ...]
    notes: tuple[str, ...]
    seed: int
    draws: int
    command: str
    versions: dict[str, str]
