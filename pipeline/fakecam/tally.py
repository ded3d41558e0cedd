"""Counts that any thread may wait for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

C = TypeVar("C")


class Tally(Generic[C]):
    """Counts by name, shown as what `read` makes of them; `changed` is told of each change, and guards them."""

    def __init__(self, read: Callable[[Counter[str]], C]) -> None:
        self.changed = threading.Condition()
        self._read = read
        self._counts: Counter[str] = Counter()

    @property
    def counters(self) -> C:
        """As of now."""
        with self.changed:
            return self._read(self._counts)

    def add(self, what: str, by: int = 1) -> None:
        """Count."""
        with self.changed:
            self._counts[what] += by
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[C], bool], timeout_s: float) -> bool:
        """Wait until the counters meet a condition; False when time has run out."""
        with self.changed:
            return self.changed.wait_for(lambda: condition(self.counters), timeout_s)
