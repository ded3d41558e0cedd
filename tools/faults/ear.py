"""A subscriber in a thread that keeps everything it hears, so that a case can wait for something and look back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from pipeline.stream.continuity import Gap
from pipeline.stream.messages import Message, Prediction, Status
from pipeline.stream.subscriber import Subscriber

_KINDS = ("clip", "event", "status")


@dataclass(frozen=True)
class Heard:
    """A message; `at_s` is its arrival and `published_s` its publication, both on this machine's monotonic clock."""

    at_s: float
    published_s: float
    message: Message


class Ear:
    """Listens from its making to its closing."""

    def __init__(self, address: str) -> None:
        self.heard: list[Heard] = []
        self.gaps: list[tuple[float, Gap]] = []
        self.missed = 0
        self._changed = threading.Condition()
        self._leaving = threading.Event()
        self._wall_s = time.time() - time.monotonic()
        self._thread = threading.Thread(target=self._listen, args=(address,), name="ear", daemon=True)
        self._thread.start()

    def _listen(self, address: str) -> None:
        def gap(found: Gap) -> None:
            self.gaps.append((time.monotonic(), found))

        with Subscriber(address, kinds=_KINDS, on_gap=gap) as subscriber:
            while not self._leaving.is_set():
                message = subscriber.receive(0.1)
                self.missed = subscriber.missed
                if message is not None:
                    published_s = message.published_at / 1e9 - self._wall_s
                    with self._changed:
                        self.heard.append(Heard(time.monotonic(), published_s, message))
                        self._changed.notify_all()

    def wait(self, wanted: Callable[[Message], bool], timeout_s: float, *, since_s: float = 0.0) -> Heard | None:
        """The first message published after `since_s` that is wanted; None when `timeout_s` seconds passed without."""
        deadline_s = time.monotonic() + timeout_s
        looked = 0
        with self._changed:
            while True:
                for heard in self.heard[looked:]:
                    if heard.published_s >= since_s and wanted(heard.message):
                        return heard
                looked = len(self.heard)
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return None
                self._changed.wait(left_s)

    def listen(self, seconds: float) -> None:
        """Let so much time pass."""
        self.wait(lambda _: False, seconds)

    def status(self, camera: str, state: str, timeout_s: float, *, since_s: float = 0.0) -> Heard | None:
        """The first status of a camera in a state."""
        return self.wait(
            lambda m: isinstance(m, Status) and m.camera == camera and m.state == state, timeout_s, since_s=since_s
        )

    def clip(self, camera: str, timeout_s: float, *, since_s: float = 0.0) -> Heard | None:
        """The first clip of a camera."""
        return self.wait(lambda m: isinstance(m, Prediction) and m.camera == camera, timeout_s, since_s=since_s)

    def statuses(self, camera: str, since_s: float = 0.0) -> list[tuple[float, Status]]:
        """All statuses of a camera with the times of their publication."""
        return [
            (heard.published_s, heard.message)
            for heard in list(self.heard)
            if isinstance(heard.message, Status) and heard.message.camera == camera and heard.published_s >= since_s
        ]

    def clips(self, camera: str | None = None, since_s: float = 0.0) -> list[tuple[float, Prediction]]:
        """All clips of a camera, or of all, with the times of their publication."""
        return [
            (heard.published_s, heard.message)
            for heard in list(self.heard)
            if isinstance(heard.message, Prediction)
            and camera in (None, heard.message.camera)
            and heard.published_s >= since_s
        ]

    def states(self, camera: str, since_s: float = 0.0) -> list[str]:
        """The states of a camera in order, without repetitions."""
        found: list[str] = []
        for _, status in self.statuses(camera, since_s):
            if found[-1:] != [status.state]:
                found.append(status.state)
        return found

    def last(self, camera: str) -> Status:
        """The newest status of a camera."""
        return self.statuses(camera)[-1][1]

    def unbalanced(self) -> int:
        """Statuses of which more than one frame is not accounted for (two processes count, one reads both)."""
        return sum(abs(balance(h.message)) > 1 for h in list(self.heard) if isinstance(h.message, Status))

    def close(self) -> None:
        """Stop listening."""
        self._leaving.set()
        self._thread.join(10.0)

    def __enter__(self) -> Ear:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def balance(status: Status) -> int:
    """Frames due and not accounted for."""
    c = status.counts
    return c.due - c.processed - c.thinned - c.overrun - c.in_flight
