"""What happens to cameras and to vidpipe itself, told to the log: once for each change, in one place."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.operations.detail import detail_of

if TYPE_CHECKING:
    from pipeline.stream.messages import Status

_log = logging.getLogger(__name__)
_CALM = frozenset({"connecting", "waiting_first_frame", "running", "finished", "stopped"})


class Narrator:
    """Logs a camera's changes of state (warnings where it gives no good frames), resets of its memory, and alarms.

    Each record has the fields `stream`, `state`, `reason` and `epoch` where there are such.
    """

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, str]] = {}
        self._resets: dict[str, Mapping[str, int]] = {}
        self._alarms: dict[str, str] = {}

    def observe(self, status: Status) -> None:
        """Take a status; says something only where it tells of a change."""
        shown = (status.state, status.detail)
        if self._states.get(status.camera) != shown:
            self._states[status.camera] = shown
            self._tell_state(status)
        if self._resets.get(status.camera, {}) != status.resets:
            self._tell_resets(status, self._resets.get(status.camera, {}))
            self._resets[status.camera] = status.resets

    def alarms(self, alarms: Mapping[str, str]) -> None:
        """Take what is wrong with vidpipe itself, a sentence by part; empty where all is well."""
        for part, text in alarms.items():
            before = self._alarms.get(part, "")
            self._alarms[part] = text
            if text and not before:
                _log.warning("%s: %s", part, text, extra={"reason": part})
            elif before and not text:
                _log.info("%s: all is well again", part, extra={"reason": part})

    def summary(self) -> str:
        """How many cameras are in which state, as one line."""
        states = Counter(state for state, _ in self._states.values())
        return ", ".join(f"{number} {state}" for state, number in states.most_common()) or "no camera yet"

    def forget(self, camera: str) -> None:
        """The camera is no longer run."""
        self._states.pop(camera, None)
        self._resets.pop(camera, None)

    def _tell_state(self, status: Status) -> None:
        level = logging.INFO if status.state in _CALM else logging.WARNING
        fields = {"stream": status.camera, "state": status.state, "reason": status.detail, "epoch": status.epoch}
        detail = f": {detail_of(status)}" if status.detail else ""
        _log.log(level, "%s: %s%s", status.camera, status.state, detail, extra=fields)

    def _tell_resets(self, status: Status, before: Mapping[str, int]) -> None:
        for reason, number in status.resets.items():
            if number > before.get(reason, 0) and reason != "start":
                fields = {"stream": status.camera, "reason": reason, "epoch": status.epoch}
                _log.info("%s: the memory was reset (%s)", status.camera, reason, extra=fields)
