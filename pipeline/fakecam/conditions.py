"""Which faults act on the links of a proxy now. Belongs to one event loop."""

from __future__ import annotations

import time
from typing import TypeVar

from pipeline.fakecam.change import Change
from pipeline.fakecam.proxy_faults import Cut, Direction, LinkFault

F = TypeVar("F", bound=LinkFault)


class Conditions:
    """The faults that act now. Belongs to one event loop."""

    def __init__(self) -> None:
        self.change = Change()
        self._active: dict[tuple[type[object], Direction], tuple[LinkFault, float]] = {}

    def set(self, fault: LinkFault, direction: Direction) -> None:
        """Let a fault act, in the place of one of its kind in that direction."""
        self._active[type(fault), direction] = fault, time.monotonic()
        self.change.tell()

    def end(self, fault: LinkFault, direction: Direction) -> None:
        """Let it act no longer, unless another has taken its place."""
        if self._active.get((type(fault), direction), (None,))[0] is fault:
            del self._active[type(fault), direction]
            self.change.tell()

    def clear(self, kind: type[LinkFault] | None) -> int:
        """End all faults or those of a kind; gives how many."""
        keys = [key for key in self._active if kind in (None, key[0])]
        for key in keys:
            del self._active[key]
        self.change.tell()
        return len(keys)

    def find(self, kind: type[F], direction: Direction) -> tuple[F, float] | None:
        """The fault of a kind that acts in a direction, and since when."""
        for key in ((kind, direction), (kind, "both")):
            if (found := self._active.get(key)) and isinstance(found[0], kind):
                return found[0], found[1]
        return None

    def cuts_at_once(self) -> Cut | None:
        """The fault that lets no connection live."""
        cut = self.get(Cut, "up") or self.get(Cut, "down")
        return cut if cut and cut.after_bytes == 0 else None

    def get(self, kind: type[F], direction: Direction) -> F | None:
        """The fault of a kind that acts in a direction."""
        found = self.find(kind, direction)
        return found[0] if found else None
