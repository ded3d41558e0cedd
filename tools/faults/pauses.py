"""How long the machine let the threads of a process wait for a CPU: what no pipeline can be better than."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_LOOK_S = 0.05
_WINDOW_S = 1.0


class Pauses:
    """Watches a process from entering to leaving (Linux; elsewhere it sees nothing).

    The second figure of /proc/PID/task/TID/schedstat is the time that a thread could have run and was not let, in ns.
    """

    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self._waits: list[tuple[float, float]] = []  # when it was seen, and seconds of all threads since the last look
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pauses", daemon=True)

    @property
    def worst_s(self) -> float:
        """The most seconds that all threads together waited within one second.

        A frame goes through several threads, one after another, so a single one's wait would say too little.
        """
        worst_s, begin = 0.0, 0
        for end, (at_s, _) in enumerate(self._waits):
            while self._waits[begin][0] <= at_s - _WINDOW_S:
                begin += 1
            worst_s = max(worst_s, sum(wait_s for _, wait_s in self._waits[begin : end + 1]))
        return worst_s

    def _watch(self) -> None:
        before = self._waited_ns()
        while not self._leaving.wait(_LOOK_S):
            now = self._waited_ns()
            more_ns = sum(ns - before.get(thread, ns) for thread, ns in now.items())
            self._waits.append((time.monotonic(), more_ns / 1e9))
            before = now

    def _waited_ns(self) -> dict[str, int]:
        waited: dict[str, int] = {}
        with suppress(OSError):  # the process has ended
            for thread in self._tasks.iterdir():
                with suppress(OSError):  # the thread has
                    waited[thread.name] = int((thread / "schedstat").read_text().split()[1])
        return waited

    def __enter__(self) -> Pauses:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join()
