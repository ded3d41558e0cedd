"""What a server has seen and done, with times: tests measure detection and recovery by it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Union

from msgspec import Struct

from pipeline.fakecam.faults import Fault
from pipeline.fakecam.tally import Tally

_LIMIT = 100_000  # events kept: an hour of two cameras at 15 frames/s, some 20 MB


class _Event(Struct, frozen=True, kw_only=True, tag=True):
    time_s: float  # of CLOCK_MONOTONIC, as `time.monotonic()` gives it


class Opened(_Event, frozen=True, kw_only=True):
    """A client has connected, and shaken hands where TLS is spoken."""

    connection: int  # counts from 1
    peer: str  # host:port


class Closed(_Event, frozen=True, kw_only=True):
    """A connection has ended, from whichever side."""

    connection: int


class Asked(_Event, frozen=True, kw_only=True):
    """A request has come."""

    connection: int
    path: str | None  # None where it names no camera of this server
    method: str


class Answered(_Event, frozen=True, kw_only=True):
    """A request has been answered."""

    connection: int
    path: str | None
    method: str
    status: int


class Refused(_Event, frozen=True, kw_only=True):
    """A request lacked the right credentials."""

    connection: int
    path: str | None
    wrong: bool  # it brought some, and they were wrong


class Played(_Event, frozen=True, kw_only=True):
    """A client begins to watch."""

    connection: int
    path: str


class Left(_Event, frozen=True, kw_only=True):
    """A client watches no longer."""

    connection: int
    path: str


class PictureSent(_Event, frozen=True, kw_only=True):
    """A picture has been handed to a client's socket."""

    connection: int
    path: str
    index: int  # counts the pictures of this client from 0
    ticks: int  # media time, 90 kHz; faults of the clock do not change it
    rtp_timestamp: int  # as sent, 32 bits


class FaultBegan(_Event, frozen=True, kw_only=True):
    """A fault has begun."""

    path: str | None  # None for all cameras
    fault: Fault
    for_s: float | None = None  # None until cleared, or once


class FaultEnded(_Event, frozen=True, kw_only=True):
    """A fault that lasted is over."""

    path: str | None
    fault: Fault


Event = Union[  # noqa: UP007 - msgspec and isinstance want it as a value
    Opened, Closed, Asked, Answered, Refused, Played, Left, PictureSent, FaultBegan, FaultEnded
]


@dataclass(frozen=True)
class Counters:
    """What a server has seen since it was made."""

    connections: int
    plays: int
    refused: int  # requests without the right credentials
    viewers: int  # playing now
    wrong_credentials: int = 0  # those among the refused that brought some
    pictures: int = 0  # sent, over all clients


class History:
    """Keeps the last events. Safe for any thread."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_LIMIT)
        self._total = 0
        self._tally = Tally(_read)

    @property
    def events(self) -> tuple[Event, ...]:
        """In order of time."""
        with self._tally.changed:
            return tuple(self._events)

    @property
    def counters(self) -> Counters:
        """Sums over all that has happened, also what is no longer kept."""
        return self._tally.counters

    def note(self, event: Event) -> None:
        """Add what has just happened."""
        with self._tally.changed:
            self._events.append(event)
            self._total += 1
            if isinstance(event, Refused) and event.wrong:
                self._tally.add("wrong")
            self._tally.add(type(event).__name__)

    def wait_for(self, condition: Callable[[Counters], bool], timeout_s: float) -> bool:
        """Wait until the counters meet a condition; False when time has run out."""
        return self._tally.wait_for(condition, timeout_s)

    def wait_event(self, match: Callable[[Event], bool], timeout_s: float, since_s: float) -> Event | None:
        """The first event at or after `since_s` that matches; None when time has run out."""
        ends_s, seen, changed = time.monotonic() + timeout_s, 0, self._tally.changed
        while True:
            with changed:
                fresh = min(self._total - seen, len(self._events))
                news, seen = tuple(islice(self._events, len(self._events) - fresh, None)), self._total
            for event in news:
                if event.time_s >= since_s and match(event):
                    return event
            with changed:
                if self._total == seen and not changed.wait(max(0.0, ends_s - time.monotonic())):
                    return None
            if time.monotonic() >= ends_s:
                return None


def _read(counts: Counter[str]) -> Counters:
    return Counters(
        connections=counts["Opened"],
        plays=counts["Played"],
        refused=counts["Refused"],
        viewers=counts["Played"] - counts["Left"],
        wrong_credentials=counts["wrong"],
        pictures=counts["PictureSent"],
    )
