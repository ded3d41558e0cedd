"""How long the machine itself lets a process wait that only wants to wake up: what no pipeline can be better than."""

from __future__ import annotations

import threading
import time
from types import TracebackType

_NAP_S = 0.005


class Pauses:
    """Naps in a thread from entering to leaving, and keeps the longest oversleeping in seconds."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._nap, name="pauses", daemon=True)

    def _nap(self) -> None:
        while not self._leaving.is_set():
            begun_s = time.monotonic()
            time.sleep(_NAP_S)
            self.longest_s = max(self.longest_s, time.monotonic() - begun_s - _NAP_S)

    def __enter__(self) -> Pauses:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join()
