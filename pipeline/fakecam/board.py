"""Which faults act now, on which camera and which connections. Belongs to one event loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from pipeline.fakecam.change import Change
from pipeline.fakecam.faults import Fault, Jump, Reach, momentary
from pipeline.fakecam.history import FaultBegan, FaultEnded, History
from pipeline.rtsp.h264 import CLOCK_HZ

F = TypeVar("F", bound=Fault)


@dataclass(frozen=True)
class Injection:
    """A fault as it was asked for."""

    fault: Fault
    path: str | None = None  # None for all cameras
    reach: Reach = "all"
    for_s: float | None = None  # None until cleared
    after_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Active:
    """A fault that lasts, since a time of the monotonic clock."""

    injection: Injection
    since_s: float

    def meets(self, path: str | None, opened_s: float) -> bool:
        """Whether it acts on a connection to a camera that was opened at a time."""
        asked = self.injection
        if asked.path not in (None, path):
            return False
        return asked.reach == "all" or (opened_s < self.since_s) == (asked.reach == "present")


class Board:
    """The active faults; a new one takes the place of one of its kind, step and path.

    `act` is called at each change, before the history tells of it.
    """

    def __init__(self, history: History, act: Callable[[], None]) -> None:
        self._history, self._act = history, act
        self._active: dict[tuple[object, ...], Active] = {}
        self._jumped: dict[str | None, int] = {}
        self.change = Change()

    def begin(self, asked: Injection) -> Active | None:
        """Let a fault act; None for one that happens once."""
        fault, active = asked.fault, Active(asked, time.monotonic())
        if isinstance(fault, Jump):
            self._jump(asked, 1)
        lasts = not momentary(fault, asked.for_s)
        if lasts:
            self._replace(_key(asked), active)
            self._act()
        self._history.note(FaultBegan(time_s=active.since_s, path=asked.path, fault=fault, for_s=asked.for_s))
        self.change.tell()
        return active if lasts else None

    def end(self, active: Active) -> None:
        """Let a fault act no longer; does nothing where it has ended already."""
        key = _key(active.injection)
        if self._active.get(key) is not active:
            return
        del self._active[key]
        if isinstance(active.injection.fault, Jump):
            self._jump(active.injection, -1)
        self._act()
        asked = active.injection
        self._history.note(FaultEnded(time_s=time.monotonic(), path=asked.path, fault=asked.fault))
        self.change.tell()

    def clear(self, path: str | None = None, kind: type[Fault] | None = None) -> int:
        """End all faults, or those injected for one path or of one kind; gives how many."""
        found = [
            one
            for one in self._active.values()
            if path in (None, one.injection.path) and (kind is None or isinstance(one.injection.fault, kind))
        ]
        for one in found:
            self.end(one)
        return len(found)

    def find(self, kind: type[F], path: str | None, opened_s: float, at: str | None = None) -> Active | None:
        """The fault of a kind (and step) that acts on a connection; the one that came last where there are several."""
        for active in reversed(self._active.values()):
            fault = active.injection.fault
            if isinstance(fault, kind) and active.meets(path, opened_s) and at in (None, getattr(fault, "at", None)):
                return active
        return None

    def jumped(self, path: str) -> int:
        """How far the clock of a camera has been moved, in ticks of 90 kHz."""
        return self._jumped.get(path, 0) + self._jumped.get(None, 0)

    def _replace(self, key: tuple[object, ...], active: Active) -> None:
        if (before := self._active.get(key)) is not None:
            self.end(before)
        self._active[key] = active

    def _jump(self, asked: Injection, sign: int) -> None:
        ticks = round(cast("Jump", asked.fault).by_s * CLOCK_HZ)
        self._jumped[asked.path] = self._jumped.get(asked.path, 0) + sign * ticks


class View:
    """The faults that one connection meets; its camera is known once a request has named it."""

    def __init__(self, board: Board, opened_s: float, path: str | None = None) -> None:
        self.path = path
        self._board, self._opened_s = board, opened_s

    def find(self, kind: type[F], at: str | None = None) -> F | None:
        """The fault of a kind (and step) that acts here now."""
        active = self._board.find(kind, self.path, self._opened_s, at)
        return None if active is None else cast("F", active.injection.fault)

    def jumped(self) -> int:
        """How far the camera's clock has been moved, in ticks of 90 kHz."""
        return self._board.jumped(self.path) if self.path is not None else 0

    async def changed(self, timeout_s: float | None = None) -> None:
        """Wait until a fault begins or ends, or for so long."""
        await self._board.change.wait(timeout_s)


def _key(asked: Injection) -> tuple[object, ...]:
    return type(asked.fault), asked.path, asked.reach, getattr(asked.fault, "at", None)
