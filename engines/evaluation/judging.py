"""All figures of what a model was watched doing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.datasets.labelled import Dataset, Skipped
from engines.errors import DataError
from engines.evaluation import metrics
from engines.evaluation.agreement import agree
from engines.evaluation.alarms import AlarmStream, alarm_curve, all_alarms
from engines.evaluation.baselines import Baselines
from engines.evaluation.details import mistakes, reliability
from engines.evaluation.facts import learnt_from, model_facts, training_shares, versions
from engines.evaluation.opponents import baselines_judged
from engines.evaluation.record import (
    Agreement,
    Comparison,
    DataFacts,
    Evaluation,
    GroupScore,
    LabelScore,
    SkippedFile,
    StreamScore,
)
from engines.evaluation.resampling import Figure, Metric, Resampling
from engines.evaluation.stream_figures import bounded, stream_metrics
from engines.evaluation.units import Stream, Unit, judged_frames, judged_units, rows_of, stream_of, units_of
from engines.evaluation.verdict import compare
from engines.evaluation.watching import Answers, Watched
from engines.manifest import Manifest


@dataclass(frozen=True)
class Order:
    """What to evaluate: every row of the data where `split` is empty."""

    split: str = ""
    backend: str = "auto"
    draws: int = 1000
    seed: int = 0
    threads: int | None = None
    command: str = ""


SLOW = 0.75
"""A video whose sampled rate is below this share of the model's gets a note."""


def _rate_hz(times_s: NDArray[np.float64]) -> float:
    return (len(times_s) - 1) / float(times_s[-1] - times_s[0]) if len(times_s) > 1 else math.inf


@dataclass(frozen=True)
class Material:
    """What the figures were made from, for plots."""

    manifest: Manifest
    watched: Sequence[Watched]
    units: Sequence[Unit]
    judged: metrics.Judged
    stream: Stream
    alarms: AlarmStream


@dataclass(frozen=True)
class Opponents:
    """What else is compared: baselines and their origin (or why there are none), and why there is no whole sequence."""

    baselines: Baselines | None
    origin: str
    why_not_whole: str


class Judging:
    """All figures of what was watched; with `why_not_whole` empty every video carries the whole-sequence answers."""

    def __init__(
        self, bundle: Bundle, dataset: Dataset, order: Order, watched: Sequence[Watched], against: Opponents
    ) -> None:
        self._bundle, self._manifest, self._dataset, self._order = bundle, bundle.manifest, dataset, order
        self._watched, self._against = watched, against
        self._units = units_of(watched, self._manifest)
        if not self._units:
            raise DataError(
                f"{dataset.origin}: no video is long enough for a labelled clip of {self._manifest.clip.length_s:g} s"
            )
        self._resampling = Resampling([each.video.group for each in watched], order.draws, order.seed)
        self._groups = self._resampling.index
        self._alone = self._judge(self._units, [each.alone for each in watched])
        self._stream = stream_of(watched, self._groups, self._manifest, together=not self._cut)
        alarms = all_alarms(self._stream.sessions, self._manifest.events, self._manifest.labels)
        self._alarms = AlarmStream(alarms, self._stream.truth, len(self._resampling.names))
        self._simple = baselines_judged(against.baselines, watched, self._units, self._alone)
        self.material = Material(self._manifest, watched, self._units, self._alone, self._stream, self._alarms)

    def record(self, backend: str, skipped: Sequence[Skipped]) -> Evaluation:
        """Everything as one record; `backend` is where the model ran."""
        figures = self._all(self._metrics(self._alone, [each.alone for each in self._watched]))
        figures |= self._all(stream_metrics(self._alarms, self._manifest))
        figures["false_alarms_per_hour"] = bounded(figures["false_alarms_per_hour"], self._stream.truth.quiet_s)
        baselines = {name: self._all(metrics.clip_metrics(judged)) for name, judged in self._simple.items()}
        comparison = self._comparison()
        return Evaluation(
            headline=comparison.sentence,
            model=model_facts(self._bundle, backend),
            data=self._data_facts(skipped),
            figures=figures,
            baselines=baselines,
            baselines_from=self._against.origin,
            comparison=comparison,
            agreement=self._agreement(),
            labels=tuple(self._label_scores()),
            confusion=tuple(tuple(row) for row in metrics.confusion(self._alone).tolist()),
            reliability=tuple(reliability(self._alone)),
            stream=self._stream_score(),
            groups=tuple(self._group_scores()),
            mistakes=tuple(mistakes(self._units, self._alone, self._watched, self._manifest.labels)),
            notes=tuple(self._notes()),
            seed=self._order.seed,
            draws=self._order.draws,
            command=self._order.command,
            versions=versions(),
        )

    def _all(self, wanted: Mapping[str, Metric]) -> dict[str, Figure]:
        return {name: self._resampling.figure(metric) for name, metric in wanted.items()}

    def _judge(self, units: Sequence[Unit], answers: Sequence[Answers]) -> metrics.Judged:
        return judged_units(units, answers, self._groups, self._manifest.clip.aggregate)

    def _metrics(self, judged: metrics.Judged, answers: Sequence[Answers]) -> dict[str, Metric]:
        """Clip and frame figures of the answers `[F, C]` of each video."""
        labels = self._manifest.labels
        foreground = [labels.index(label) for label in self._manifest.events] or list(range(len(labels)))
        frames = judged_frames(self._watched, answers, self._groups, labels)
        found = metrics.clip_metrics(judged) | {
            "frame_map": metrics.mean_average_precision(frames, foreground),
            "frame_cap": metrics.mean_average_precision(frames, foreground, calibrated=True),
        }
        if self._cut:
            rows = self._judge(rows_of(self._watched, self._manifest), answers)
            found["interval_accuracy"] = metrics.accuracy(rows)
        return found | self._by_frequency(judged)

    @property
    def _cut(self) -> bool:
        """Whether some video has marked intervals."""
        return any(not span.whole for each in self._watched for span in each.video.spans)

    def _by_frequency(self, judged: metrics.Judged) -> dict[str, Metric]:
        shares = training_shares(self._manifest)
        if not shares or len(shares) < 3:
            reason = "needs three labels or more" if shares else "the bundle does not say how frequent labels were"
            return dict.fromkeys(("recall_head", "recall_mid", "recall_tail"), metrics.undefined(reason))
        parts = metrics.thirds(shares)
        return {f"recall_{part}": metrics.balanced_accuracy(judged, labels) for part, labels in parts.items()}

    def _comparison(self) -> Comparison:
        if not self._simple:
            return Comparison("not compared", f"Not compared with simple baselines: {self._against.origin}.")
        return compare(self._alone, self._simple, self._resampling)

    def _agreement(self) -> Agreement:
        if self._against.why_not_whole:
            return Agreement(compared=False, why=self._against.why_not_whole)
        streamed = [each.alone for each in self._watched]
        whole = [each.whole for each in self._watched if each.whole is not None]
        again = self._judge(self._units, whole)
        return agree(
            self._watched,
            self._points(self._metrics(self._alone, streamed)),
            self._points(self._metrics(again, whole)),
        )

    def _points(self, wanted: Mapping[str, Metric]) -> dict[str, float | None]:
        plain = Resampling(self._resampling.names, draws=0)
        return {name: plain.figure(metric).value for name, metric in wanted.items()}

    def _label_scores(self) -> list[LabelScore]:
        judged, shares = self._alone, training_shares(self._manifest)
        return [
            LabelScore(
                label,
                int((judged.truth == index).sum()),
                self._resampling.figure(metrics.recall(judged, index)),
                self._resampling.figure(metrics.precision(judged, index)),
                shares[index] if shares else None,
            )
            for index, label in enumerate(self._manifest.labels)
        ]

    def _group_scores(self) -> list[GroupScore]:
        judged, names = self._alone, self._resampling.names
        clips = np.bincount(judged.group, minlength=len(names))
        right = np.bincount(judged.group, judged.right, len(names))
        scores = [GroupScore(name, int(clips[i]), int(right[i])) for i, name in enumerate(names) if clips[i]]
        return sorted(scores, key=lambda score: (score.right / score.clips, score.group))

    def _stream_score(self) -> StreamScore | None:
        manifest, stream, alarms = self._manifest, self._stream, self._alarms
        if not manifest.events:
            return None
        groups = len(self._resampling.names)
        curve = {
            name: alarm_curve(
                stream.sessions, manifest.events, manifest.labels, stream.truth, groups, hysteresis=hysteresis
            )
            for name, hysteresis in (("with hysteresis", True), ("without", False))
        }
        missed = sum(each.delay_s is None for each in alarms.found)
        return StreamScore(
            joined=stream.joined,
            seconds=round(stream.seconds, 3),
            quiet_seconds=round(stream.truth.quiet_s, 3),
            events=len(stream.truth.runs),
            alarms=len(alarms.alarms),
            false_alarms=len(alarms.false),
            missed=missed,
            curve=curve,
        )

    def _data_facts(self, skipped: Sequence[Skipped]) -> DataFacts:
        counts = np.bincount(self._alone.truth, minlength=len(self._manifest.labels)).tolist()
        clip = self._manifest.clip
        unit = f"{clip.length_s:g} s of a video, one each {clip.stride_s:g} s" if self._cut else "one video"
        return DataFacts(
            origin=self._dataset.origin,
            split=self._order.split,
            videos=len(self._watched),
            clips=len(self._units),
            unit=unit,
            frames=sum(len(each.times_s) for each in self._watched),
            seconds=round(self._stream.seconds, 3),
            clips_of=dict(zip(self._manifest.labels, counts, strict=True)),
            groups=len(self._resampling.names),
            grouped=self._dataset.grouped,
            skipped=tuple(SkippedFile(str(each.path), each.reason) for each in skipped),
        )

    def _notes(self) -> list[str]:
        notes = []
        if not self._dataset.grouped:
            notes.append(
                "No groups were given, so each video counts as independent: where several come from one source, the "
                "intervals are too narrow."
            )
        absent = [label for i, label in enumerate(self._manifest.labels) if not (self._alone.truth == i).any()]
        if absent:
            notes.append(f"No clip is labelled {', '.join(absent)}: figures over labels leave these out.")
        if set(self._manifest.events) == set(self._manifest.labels):
            notes.append(
                "Every label has an event rule, so no time is quiet and no alarm can be false: train with a background."
            )
        slow = [each.name for each in self._watched if _rate_hz(each.times_s) < SLOW * self._manifest.input.fps]
        if slow:
            notes.append(
                f"{len(slow)} of {len(self._watched)} videos have fewer frames a second than the model was trained at "
                f"({self._manifest.input.fps:g}), {slow[0]} for one: it sees larger changes from frame to frame there."
            )
        if self._manifest.further and not any(each.video.inputs for each in self._watched):
            names = ", ".join(each.name for each in self._manifest.further)
            notes.append(f"The further inputs of the model ({names}) were missing throughout.")
        if learnt_from(self._manifest, self._dataset, self._order.split):
            notes.append(
                "THE MODEL LEARNT FROM VIDEOS THAT ARE JUDGED HERE: these are the data of its training, so the figures "
                "flatter. Name another split with --split, or judge it on other data."
            )
        trained = self._manifest.training.get("recipe")
        if trained is None:
            notes.append("The bundle does not say how it was trained.")
        return notes
