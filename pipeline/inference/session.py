"""A camera's sessions: unbroken runs of its recurrent state, from step outputs to clips and events."""

from __future__ import annotations

import uuid
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engines.clips import Clip, ClipClock, Step, decide, warm_from_s
from engines.errors import ModelError
from engines.events import EventChange, EventDetector
from engines.sampling_grid import sampling_cell
from pipeline.capture.ring import FrameFlag, FrameHeader
from pipeline.durability.records import LastFrame, MemoryRecord, RecentFrame
from pipeline.inference.continuity import Cause, interruptions, judge
from pipeline.stream.messages import ClipSpan, Event, InputShare, ModelInfo, Prediction, StateInfo

if TYPE_CHECKING:
    from engines.manifest import Manifest
    from pipeline.config.schema import Action, Continuity

_DIGITS = 6
_LONGEST_S = 86_400.0


@dataclass(frozen=True)
class StepInput:
    """What the recurrent step must be told of a frame: seconds since the last one, and whether memory is kept."""

    dt_s: float
    keep: bool


@dataclass(frozen=True)
class _Taken:
    """One step: its frame, and which of the model's further inputs had a sample."""

    media_s: float
    header: FrameHeader
    present: Sequence[bool]


class CameraMemory:
    """What one camera remembers beside its state tensors: session, age, clips and events. Frames come in order."""

    def __init__(self, camera: str, manifest: Manifest, model: ModelInfo, rate_hz: float, policy: Continuity) -> None:
        self.camera = camera
        self.resets = 0
        self.reset_causes: Counter[str] = Counter()  # of the resets since this process began
        self.interruptions: Counter[str] = Counter()  # whatever the policy made of them
        self._manifest = manifest
        self.model = model
        self._rate_hz = rate_hz
        self.policy = policy
        self._last_s: float | None = None
        self._last = LastFrame(0, 0, 0)
        self._broken = False
        self._frozen = False
        self._asked: list[Cause] = []
        self._recent: deque[_Taken] = deque()
        self._clock = self._new_clock(0.0)
        self._begin(0.0, Cause.START)

    @property
    def session(self) -> str:
        """The running session's id; empty before the first frame."""
        return self._session if self._last_s is not None else ""

    def interrupt(self, cause: Cause) -> None:
        """Something from outside interrupts the session: the policy is applied with the next frame."""
        if cause not in self._asked:  # else a camera that is away for days gathers them without end
            self._asked.append(cause)

    def succeed(self, before: CameraMemory, cause: Cause) -> None:
        """Begin anew, for `cause`, where another memory of the camera ends; what it counted goes on."""
        self.resets, self.reset_causes, self.interruptions = before.resets, before.reset_causes, before.interruptions
        if before.session:
            self.resets += 1
            self.reset_causes[cause.value] += 1
            self.interruptions[cause.value] += 1
        self.interrupt(cause)

    def advance(self, header: FrameHeader) -> tuple[StepInput, list[Event]]:
        """Place the next frame: apply the continuity policy. Events of a session that ends here come along."""
        now_s = header.media_ns / 1e9
        nominal_s = 1 / self._rate_hz
        asked, self._asked = self._asked, []
        if self._last_s is None:
            self._begin(self._grid(now_s), asked[0] if asked else Cause.START)
            self._last_s = now_s
            return StepInput(nominal_s, keep=False), []
        gap_s = now_s - self._last_s
        froze = FrameFlag.FROZEN in header.flags and not self._frozen
        self._frozen = FrameFlag.FROZEN in header.flags
        causes = asked + interruptions(header.flags, gap_s, self.policy.max_gap_s, froze=froze)
        action, cause = judge(causes, self.policy)
        forced = self._forced(gap_s, action)
        if forced is not None:
            action, cause = "reset", forced
            causes = [forced, *(each for each in causes if each is not forced)]
        self.interruptions.update(each.value for each in causes)
        self._last_s = now_s
        if action == "reset" and cause is not None:
            events = list(self.close(cause))
            self._begin(self._grid(now_s), cause)
            self.resets += 1
            self.reset_causes[cause.value] += 1
            return StepInput(nominal_s, keep=False), events
        if action == "hold":
            # time stood still for the model: no clip spans the interruption
            self._clock = self._new_clock(self._grid(now_s), self._clock.next_index)
            return StepInput(nominal_s, keep=True), []
        return StepInput(gap_s, keep=True), []

    def observe(
        self,
        header: FrameHeader,
        step: StepInput,
        probabilities: npt.NDArray[np.float32],
        *,
        finite: bool,
        present: Sequence[bool] = (),
    ) -> Iterator[Prediction | Event]:
        """Take the step's class probabilities `[C]`; the predictions and events that they complete.

        `present` tells for each further input of the model whether the step had a sample of it.
        """
        self._last = LastFrame(header.media_ns, header.captured_ns, header.monotonic_ns)
        self._broken = not finite
        if not finite:
            return
        media_s = header.media_ns / 1e9
        self._age_steps += 1
        self._age_s += step.dt_s if step.keep else 0.0
        self._recent.append(_Taken(media_s, header, present))
        for clip in self._clock.add(Step(media_s, probabilities)):
            yield self._prediction(clip, header)
            scores = tuple([float(p) for p in clip.probabilities])
            for change in self._events.add(clip.end_s, scores):
                yield self._event(change, header)
        self._forget()

    def close(self, cause: Cause | None = None) -> Iterator[Event]:
        """End the session's open events."""
        for change in self._events.close():
            yield self._event(change, self._last, cause.value if cause else "stop")

    def remember(self) -> MemoryRecord:
        """All that decides about the messages to come, taken between two frames; only in a session."""
        return MemoryRecord(
            session=self._session,
            reason=self._reason,
            age_steps=self._age_steps,
            age_s=self._age_s,
            broken=self._broken,
            asked=tuple(self._asked),
            last=self._last,
            clips=self._clock.remember(),
            events=self._events.remember(),
            recent=tuple([_recent(taken.header, taken.present) for taken in self._recent]),
        )

    def recall(self, record: MemoryRecord) -> None:
        """Go on where the memory of a camera stood that had the same model and settings.

        Raises:
            ModelError: the record does not fit the model; nothing has changed then.
        """
        clock = self._new_clock(0.0)
        clock.recall(record.clips, len(self._manifest.labels))
        events = EventDetector(self._manifest.events, self._manifest.labels)
        events.recall(record.events)
        if any(len(frame.present) != len(self._manifest.further) for frame in record.recent):
            raise ModelError("saved frames have other further inputs than the model: start without them")
        self._clock, self._events = clock, events
        self._session, self._reason = record.session, record.reason
        self._age_steps, self._age_s = record.age_steps, record.age_s
        self._broken, self._asked = record.broken, list(record.asked)
        self._last, self._last_s = record.last, record.last.media_ns / 1e9
        self._recent = deque(_recalled(frame) for frame in record.recent)
        self._frozen = bool(self._recent) and FrameFlag.FROZEN in self._recent[-1].header.flags

    def _forced(self, gap_s: float, action: Action) -> Cause | None:
        """What resets whatever the policy says: nobody means to keep what no step of time can carry on."""
        if self._broken:
            return Cause.NON_FINITE
        if gap_s < 0:
            return Cause.SEEK
        return Cause.GAP if gap_s > _LONGEST_S and action == "keep" else None

    def _begin(self, origin_s: float, cause: Cause) -> None:
        self._session = uuid.uuid4().hex[:12]
        self._reason = cause
        self._age_steps, self._age_s = 0, 0.0
        self._clock = self._new_clock(origin_s)
        self._events = EventDetector(self._manifest.events, self._manifest.labels)
        self._recent.clear()
        self._broken = False

    def _grid(self, media_s: float) -> float:
        """Sessions begin on the sampling grid, so that clips hold whole sampling periods."""
        return sampling_cell(media_s, self._rate_hz) / self._rate_hz

    def _new_clock(self, origin_s: float, first_index: int = 0) -> ClipClock:
        return ClipClock(self._manifest.clip, self._rate_hz, origin_s, first_index)

    def _dropped(self, clip: Clip) -> int:
        """Due frames of this clip that were dropped: they lay in the sampling periods just before a frame that came."""
        first, last = (sampling_cell(edge_s, self._rate_hz) for edge_s in (clip.start_s, clip.end_s))
        lost = 0
        for taken in self._recent:
            cell = sampling_cell(taken.media_s, self._rate_hz)
            lost += max(0, min(cell, last) - max(cell - taken.header.dropped, first))
        return lost

    def _forget(self) -> None:
        newest_s = self._recent[-1].media_s
        while self._recent and newest_s - self._recent[0].media_s > self._manifest.clip.length_s + 1.0:
            self._recent.popleft()

    def _prediction(self, clip: Clip, header: FrameHeader) -> Prediction:
        inside = [taken for taken in self._recent if clip.first_media_s <= taken.media_s <= clip.last_media_s]
        rule = self._manifest.clip
        scores = [round(float(p), _DIGITS) for p in clip.probabilities]
        return Prediction(
            camera=self.camera,
            epoch=0,
            seq=0,
            session=self._session,
            media_time=round(header.media_ns / 1e9, _DIGITS),
            captured_at=header.captured_ns,
            clip=ClipSpan(
                index=clip.index,
                start=round(clip.start_s, _DIGITS),
                end=round(clip.end_s, _DIGITS),
                frames=clip.frames,
                dropped=self._dropped(clip),
                coverage=round(clip.coverage, _DIGITS),
                fps_effective=round(clip.frames / rule.length_s, 3),
            ),
            model=self.model,
            state=self._state(),
            label=decide(clip, self._manifest.labels, rule.min_coverage),
            scores=dict(zip(self._manifest.labels, scores, strict=True)),
            damaged=any(FrameFlag.DAMAGED in taken.header.flags for taken in inside),
            frozen=any(FrameFlag.FROZEN in taken.header.flags for taken in inside),
            inputs=self._shares(inside),
        )

    def _shares(self, inside: Sequence[_Taken]) -> dict[str, InputShare]:
        return {
            each.name: InputShare(round(sum(taken.present[k] for taken in inside) / max(1, len(inside)), 3))
            for k, each in enumerate(self._manifest.further)
        }

    def _state(self) -> StateInfo:
        warm = self._age_s >= warm_from_s(self._manifest.warm_up_s, self._rate_hz)
        return StateInfo(self._age_steps, round(self._age_s, 3), warm, self._reason.value)

    def _event(self, change: EventChange, at: FrameHeader | LastFrame, reason: str = "") -> Event:
        return Event(
            camera=self.camera,
            epoch=0,
            seq=0,
            session=self._session,
            media_time=round(at.media_ns / 1e9, _DIGITS),
            captured_at=at.captured_ns,
            # no count: after a restart from a checkpoint, the same event must get the same id and another one another
            id=f"{self._session}-{change.label}-{round(change.start_s * 1000)}",
            type=change.phase,
            label=change.label,
            start=round(change.start_s, _DIGITS),
            end=round(change.end_s, _DIGITS),
            peak=round(change.peak, _DIGITS),
            reason=reason,
        )


def _recent(header: FrameHeader, present: Sequence[bool]) -> RecentFrame:
    return RecentFrame(header.media_ns, header.dropped, header.flags.real, tuple(present))


def _recalled(frame: RecentFrame) -> _Taken:
    header = FrameHeader(0, frame.media_ns, 0, 0, 0, frame.dropped, FrameFlag(frame.flags))
    return _Taken(frame.media_ns / 1e9, header, frame.present)
