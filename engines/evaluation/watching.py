"""A model watches labelled videos as it would live: sampled, encoded and stepped by the back end that serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.datasets.footage import sampled_frames
from engines.datasets.inputs import accompany, read_inputs
from engines.datasets.labelled import LabelledVideo, Skipped
from engines.encoder import Encoder
from engines.errors import DataError, UnreadableVideoError
from engines.evaluation.baselines import pooled
from engines.evaluation.offline import WholeSequence
from engines.sampling_grid import sampling_cell
from engines.temporal import Temporal

Answers = NDArray[np.float32]

ENCODER_BATCH = 8


@dataclass(frozen=True)
class Watched:
    """What a model made of one video of F frames.

    Attributes:
        video: the video and its labels.
        times_s: float64 `[F]`, media time of each frame.
        features: float32 `[F, D]`, those of the encoder, averaged over the grid where they are maps.
        alone: probabilities float32 `[F, C]` of the serving step from a fresh state.
        carried: the same with the state carried over from the video before, as in one endless stream.
        joined_s: seconds from media time to the time of that stream.
        whole: the same as `alone` from one pass of the training network; None where that is not to be had.
    """

    video: LabelledVideo
    times_s: NDArray[np.float64]
    features: NDArray[np.float32]
    alone: Answers
    carried: Answers
    joined_s: float
    whole: Answers | None = None

    @property
    def name(self) -> str:
        """What reports call the video."""
        return f"{self.video.path.parent.name}/{self.video.path.name}"


class Watcher:
    """A bundle opened on a back end, with one stream from a fresh state and one that never ends."""

    def __init__(
        self, bundle: Bundle, backend: str = "auto", *, whole: WholeSequence | None = None, threads: int | None = None
    ) -> None:
        self.manifest = bundle.manifest
        self._encoder = Encoder.open(bundle, backend, max_batch=ENCODER_BATCH, requests=1, threads=threads)
        self._temporal = Temporal.open(bundle, self._encoder.backend, capacity=2, max_batch=2)
        self._rows = np.array([self._temporal.pool.acquire(name) for name in ("alone", "carried")])
        self._whole = whole
        self._end_s = 0.0  # of the joined stream, on the sampling grid
        self._last_s: float | None = None  # its last step

    @property
    def backend(self) -> str:
        """Where the graphs run, for reports."""
        return f"{self._encoder.backend} {self._encoder.version} {self._encoder.precision} on {self._encoder.device}"

    def watch(
        self, videos: Sequence[LabelledVideo], progress: Callable[[str], None] = lambda _: None
    ) -> tuple[list[Watched], list[Skipped]]:
        """All videos that can be read, in the order of the joined stream, and those that cannot."""
        watched, skipped = [], []
        for number, video in enumerate(videos, 1):
            progress(f"video {number} of {len(videos)}")
            before = self._temporal.pool.snapshot(int(self._rows[1]), age_steps=0, age_s=0.0)
            try:
                watched.append(self._watch(video))
            except (UnreadableVideoError, DataError) as error:
                self._temporal.pool.restore(int(self._rows[1]), before)
                skipped.append(Skipped(video.path, str(error)))
        return watched, skipped

    def features(
        self, videos: Sequence[LabelledVideo], progress: Callable[[str], None] = lambda _: None
    ) -> tuple[list[tuple[LabelledVideo, NDArray[np.float64], NDArray[np.float32]]], list[Skipped]]:
        """Times `[F]` and pooled features `[F, D]` of videos, and those that cannot be read."""
        seen, skipped = [], []
        for number, video in enumerate(videos, 1):
            progress(f"video {number} of {len(videos)} for the baselines")
            try:
                parts = [(times_s, pooled(features)) for times_s, features in self._encoded(video)]
            except UnreadableVideoError as error:
                skipped.append(Skipped(video.path, str(error)))
                continue
            times, features = (np.concatenate(each) for each in zip(*parts, strict=True))
            seen.append((video, times, features))
        return seen, skipped

    def close(self) -> None:
        """Free the engines."""
        self._encoder.close()
        self._temporal.close()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watch(self, video: LabelledVideo) -> Watched:
        rate_hz = self.manifest.input.fps
        last_s, joined_last_s, joined_s = None, self._last_s, 0.0
        times, kept, answers, whole = [], [], [], []
        further = self.manifest.further
        samples = read_inputs(video.inputs, further)
        for part_s, features in self._encoded(video):
            if last_s is None:
                joined_s = self._end_s - sampling_cell(float(part_s[0]), rate_hz) / rate_hz
            read = accompany(features, part_s, samples, further) if further else features
            for time_s, frame in zip(part_s.tolist(), read, strict=True):
                dt = self._dt(time_s, last_s), self._dt(time_s + joined_s, joined_last_s)
                keep = last_s is not None, joined_last_s is not None
                answers.append(self._step(video, time_s, frame, dt, keep))
                last_s, joined_last_s = time_s, time_s + joined_s
            times.append(part_s)
            kept.append(pooled(features))
            if self._whole is not None:
                whole.append(read)
        times_s, said = np.concatenate(times), np.stack(answers, 1)
        self._last_s = joined_last_s
        self._end_s = joined_s + (sampling_cell(float(times_s[-1]), rate_hz) + 1) / rate_hz
        again = self._again(np.concatenate(whole), times_s) if whole and self._whole is not None else None
        return Watched(video, times_s, np.concatenate(kept), said[0], said[1], joined_s, again)

    def _encoded(self, video: LabelledVideo) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float32]]]:
        """Times `[B]` and the encoder's features `[B, *features]`, batch by batch."""
        size = self.manifest.input.height, self.manifest.input.width
        for part in sampled_frames(video.path, self.manifest.input.fps, size, batch=ENCODER_BATCH):
            self._encoder.frames(0)[: len(part)] = part.frames
            self._encoder.start(0, len(part))
            yield part.times_s.copy(), np.array(self._encoder.wait(0), np.float32)

    def _step(
        self, video: LabelledVideo, time_s: float, frame: NDArray[np.float32], dt: tuple[float, float],
        keep: tuple[bool, bool],
    ) -> Answers:  # fmt: skip
        """Probabilities `[2, C]` of the fresh stream and of the joined one."""
        result = self._temporal.step(self._rows, np.stack([frame, frame]), dt, keep)
        if not result.ok.all():
            raise DataError(f"{video.path}: the model went non-finite at {time_s:.2f} s, so the video is not judged")
        return result.prob

    def _dt(self, time_s: float, before_s: float | None) -> float:
        return 1.0 / self.manifest.input.fps if before_s is None else time_s - before_s

    def _again(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> Answers:
        assert self._whole is not None
        nominal_s = 1.0 / self.manifest.input.fps
        dt = np.diff(times_s, prepend=times_s[0] - nominal_s).astype(np.float32)
        return self._whole.answer(features, dt)
