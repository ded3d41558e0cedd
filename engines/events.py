"""Events from clip scores: hysteresis, minimum duration and cool-down turn a flickering score into begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from engines.clips import Seconds
from engines.errors import ModelError
from engines.manifest import EventRule
from engines.sampling_grid import TOLERANCE_S

Phase = Literal["begin", "update", "end"]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]


@dataclass(frozen=True)
class EventChange:
    """What one clip did to one event; times are media seconds, `number` counts the detector's events from 1."""

    number: int
    phase: Phase
    label: str
    start_s: float
    end_s: float
    peak: float


class Track(msgspec.Struct, frozen=True, gc=False):
    """Where one label stands: `start_s` is None while its score is low; `number` is 0 until the event is announced."""

    number: Count = 0
    start_s: Seconds | None = None
    end_s: Seconds = 0.0
    peak: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    quiet_until_s: Annotated[float, msgspec.Meta(le=1e12)] = float("-inf")


class EventState(msgspec.Struct, frozen=True, gc=False):
    """Where an `EventDetector` stands: how many events it has announced, and the track of each label with a rule."""

    count: Count
    tracks: dict[str, Track]


class EventDetector:
    """Follows each label that has a rule; fed once a clip, in order.

    An event starts when its score reaches `enter`, is announced once it has lasted `min_duration_s`, and ends when the
    score falls below `exit`; a label then stays quiet for `cool_down_s`. Times that are equal but for rounding count as
    equal, as in clips.
    """

    def __init__(self, rules: Mapping[str, EventRule], labels: tuple[str, ...]) -> None:
        self._rules = [(labels.index(label), label, rule) for label, rule in rules.items()]
        self._tracks = {label: Track() for label in rules}
        self._count = 0

    def remember(self) -> EventState:
        """All that decides about the events to come, those that are open included."""
        return EventState(self._count, dict(self._tracks))

    def recall(self, state: EventState) -> None:
        """Go on where a detector of the same rules stood.

        Raises:
            ModelError: it followed other labels; nothing has changed then.
        """
        if state.tracks.keys() != self._tracks.keys():
            found, expected = ", ".join(state.tracks) or "none", ", ".join(self._tracks) or "none"
            raise ModelError(f"saved events follow {found}, the model's rules follow {expected}: start without them")
        self._count, self._tracks = state.count, dict(state.tracks)

    def add(self, time_s: float, scores: tuple[float, ...]) -> list[EventChange]:
        """Take the scores `[C]` of the clip that ends at media time `time_s`; the changes they cause, in rule order."""
        changes = []
        for index, label, rule in self._rules:
            change = self._follow(label, rule, time_s, scores[index])
            if change is not None:
                changes.append(change)
        return changes

    def close(self) -> list[EventChange]:
        """End every announced event: the session is over."""
        open_labels = [label for label, track in self._tracks.items() if track.number]
        changes = [self._change(label, "end") for label in open_labels]
        self._tracks = {label: Track() for label in self._tracks}
        return changes

    def _follow(self, label: str, rule: EventRule, time_s: float, score: float) -> EventChange | None:
        track = self._tracks[label]
        if track.start_s is None:
            if score < rule.enter or time_s < track.quiet_until_s - TOLERANCE_S:
                return None
            track = replace(track, start_s=time_s, peak=score)
        elif score < rule.exit:
            return self._finish(label, rule, time_s)
        self._tracks[label] = replace(track, end_s=time_s, peak=max(track.peak, score))
        return self._announce(label, rule, time_s)

    def _announce(self, label: str, rule: EventRule, time_s: float) -> EventChange | None:
        track = self._tracks[label]
        if track.number:
            return self._change(label, "update")
        if track.start_s is None or time_s - track.start_s < rule.min_duration_s - TOLERANCE_S:
            return None
        self._count += 1
        self._tracks[label] = replace(track, number=self._count)
        return self._change(label, "begin")

    def _finish(self, label: str, rule: EventRule, time_s: float) -> EventChange | None:
        announced = bool(self._tracks[label].number)
        self._tracks[label] = replace(self._tracks[label], end_s=time_s)
        change = self._change(label, "end") if announced else None
        self._tracks[label] = Track(quiet_until_s=time_s + rule.cool_down_s if announced else float("-inf"))
        return change

    def _change(self, label: str, phase: Phase) -> EventChange:
        track = self._tracks[label]
        start_s = track.end_s if track.start_s is None else track.start_s
        return EventChange(track.number, phase, label, start_s, track.end_s, track.peak)
