"""What a dataset is, however it was written down: videos, and the spans of them that carry a label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Span:
    """The half-open part `[start_s, end_s)` of a video, in seconds from its first frame, and its label."""

    start_s: float
    end_s: float
    label: str

    @property
    def whole(self) -> bool:
        """Whether it covers all of the video."""
        return self.start_s <= 0.0 and math.isinf(self.end_s)


@dataclass(frozen=True)
class LabelledVideo:
    """One video file. What no span covers has no label and is neither learnt nor judged.

    `group` names what must not be divided between splits (a source video, a camera, a person, a day); it is the
    video's own name where nobody said. `split` is empty where nobody said. `name` is what reports call it: its path
    within the data, or the file's name where that is not given. `inputs` is the file with what comes beside the video,
    if any; see `engines.datasets.inputs`.
    """

    path: Path
    spans: tuple[Span, ...]
    group: str
    split: str = ""
    name: str = ""
    inputs: Path | None = None

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.name)

    @property
    def label(self) -> str | None:
        """The one label of a clip; None for a video with several."""
        labels = {span.label for span in self.spans}
        return labels.pop() if len(labels) == 1 else None


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why, in one sentence."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Videos in the order of their source; `grouped` is whether groups were given, `origin` what errors call it."""

    origin: str
    labels: tuple[str, ...]
    videos: tuple[LabelledVideo, ...]
    grouped: bool
    skipped: tuple[Skipped, ...] = ()
