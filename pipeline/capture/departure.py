"""A capture process on its way out: told to go, not waited for, and made to go where it does not hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.capture.process import CaptureProcess

_GRACE_S = 0.5


class Departure:
    """From the word to go, `by_force` or not, at the monotonic time `now_s`. `due_s` is when force is due (again)."""

    def __init__(self, process: CaptureProcess, now_s: float, *, by_force: bool) -> None:
        if by_force:
            process.kill()
        else:
            process.ask_to_leave()
        self._process = process
        self.due_s = now_s + _GRACE_S

    def is_over(self, now_s: float) -> bool:
        """Whether it is gone; what was held for it is given back then. Not to be asked again after a yes."""
        if self._process.is_gone():
            self._process.close()
            return True
        if now_s >= self.due_s:
            self._process.kill()
            self.due_s = now_s + _GRACE_S
        return False

    def end(self, grace_s: float) -> None:
        """Wait until it is gone, and use force after so many seconds."""
        self._process.end(grace_s)
